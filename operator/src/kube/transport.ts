/** HTTP to an API server: pooled connections, a deadline on everything, throttling obeyed, streams that end when told to. */
import { types } from 'node:util';
import { Agent, type buildConnector, type Dispatcher, ProxyAgent, request } from 'undici';
import { backoffMs } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { toError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import type { CredentialSource, Credentials } from './credentials.ts';
import { ForbiddenError, ThrottledError } from './errors.ts';
import { fromKube } from './from-kube.ts';
import { isJsonObject, type JsonObject } from './json.ts';

export interface TransportOptions {
  /** For the whole of a request, each attempt anew. */
  readonly requestMs: number;
  /** For the first byte of a watch: an API server answers at once, even when there is nothing to tell. */
  readonly headersMs: number;
  /** Connections for requests; each watch has one of its own besides. */
  readonly connections: number;
  /** How often a 429 is waited out before the caller hears of it. */
  readonly throttleRetries: number;
  /** A server that asks for more patience than this is not waited for: the caller's queue does that better. */
  readonly throttleMaxMs: number;
}

export const TRANSPORT_DEFAULTS: TransportOptions = {
  requestMs: 30_000,
  headersMs: 15_000,
  connections: 16,
  throttleRetries: 4,
  throttleMaxMs: 10_000,
};

export interface Request {
  /** Completes "cannot …" in errors. */
  readonly action: string;
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: object | undefined;
  readonly contentType?: string;
  readonly signal: AbortSignal | undefined;
}

/** One event of a watch is at most an object of 1.5 MB and its wrapping; a line longer than this is no event. */
const LINE_MAX_BYTES = 16 * 1024 * 1024;

interface Pools {
  readonly tlsId: string;
  readonly requests: Dispatcher;
  readonly streams: Dispatcher;
}

export class Transport {
  readonly #source: CredentialSource;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #options: TransportOptions;
  readonly #closed = new AbortController();
  readonly #base: URL;
  #pools: Pools | undefined;
  readonly #retired = new Set<Promise<void>>();

  constructor(deps: {
    readonly source: CredentialSource;
    readonly clock: Clock;
    readonly random: Random;
    readonly options?: Partial<TransportOptions>;
  }) {
    this.#source = deps.source;
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#options = { ...TRANSPORT_DEFAULTS, ...deps.options };
    this.#base = new URL(deps.source.server.endsWith('/') ? deps.source.server : `${deps.source.server}/`);
  }

  /** The answer's body. Throws what `fromKube` makes of a refusal, the signal's reason, or a plain Error. */
  async request(wanted: Request): Promise<JsonObject> {
    const { throttleRetries, throttleMaxMs } = this.#options;
    let renewed = false;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(wanted);
      } catch (e) {
        wanted.signal?.throwIfAborted();
        this.#closed.signal.throwIfAborted();
        if (e instanceof UnknownTokenError && !renewed) {
          // The token was rotated between our reading it and now: once, or a wrong one would be tried for ever.
          renewed = true;
          this.#source.forget();
        } else if (e instanceof ThrottledError && attempt <= throttleRetries && e.afterMs <= throttleMaxMs) {
          // More than asked for: all who were refused together would come back together.
          const spreadMs = backoffMs(attempt, { baseMs: 100, maxMs: 1_000 }, this.#random);
          await this.#clock.sleep(e.afterMs + spreadMs, wanted.signal ?? this.#closed.signal);
        } else if (wanted.method === 'GET' && attempt === 1 && isStaleSocket(e)) {
          // The server closed a kept connection as we wrote to it. Only for reads: a write may have been done.
        } else {
          throw e instanceof UnknownTokenError ? new ForbiddenError(e.message) : e;
        }
      }
    }
  }

  /** One JSON object per line, until the server ends the stream or `signal` aborts: then it returns. `totalMs` bounds the whole. */
  async *stream(
    wanted: Omit<Request, 'method' | 'signal' | 'body'> & { readonly signal: AbortSignal; readonly totalMs?: number | undefined },
  ): AsyncGenerator<JsonObject, void> {
    const stop = new AbortController();
    const end = (): void => stop.abort(new Error('this stream is over'));
    const { signal } = wanted;
    if (signal.aborted || this.#closed.signal.aborted) return;
    signal.addEventListener('abort', end, { once: true });
    this.#closed.signal.addEventListener('abort', end, { once: true });
    const over = new AbortController();
    if (wanted.totalMs !== undefined) this.#clock.sleep(wanted.totalMs, over.signal).then(end, () => {});
    try {
      const { headersMs } = this.#options;
      const credentials = await this.#source.get();
      const response = await withDeadline({ ms: headersMs, what: wanted.action, clock: this.#clock, signal: stop.signal }, (within) =>
        this.#send({ ...wanted, method: 'GET', signal: within }, credentials, 'streams', stop.signal),
      );
      if (response.statusCode !== 200) await this.#refuse(wanted.action, response);
      yield* lines(response.body, wanted.action);
    } catch (thrown) {
      if (stop.signal.aborted) return;
      throw described(wanted.action, thrown);
    } finally {
      end(); // closes the socket when the consumer leaves early
      over.abort();
      signal.removeEventListener('abort', end);
      this.#closed.signal.removeEventListener('abort', end);
    }
  }

  /** Ends what is under way and waits until every connection is closed. */
  async close(): Promise<void> {
    this.#closed.abort(new Error('the connection to the API server is closed'));
    if (this.#pools !== undefined) this.#retire(this.#pools, true);
    this.#pools = undefined;
    await Promise.all(this.#retired);
  }

  async #once(wanted: Request): Promise<JsonObject> {
    const ms = this.#options.requestMs;
    const credentials = await this.#source.get();
    return withDeadline({ ms, what: wanted.action, clock: this.#clock, signal: wanted.signal }, async (within) => {
      try {
        this.#closed.signal.throwIfAborted();
        const response = await this.#send({ ...wanted, signal: within }, credentials, 'requests', within);
        if (response.statusCode >= 300) await this.#refuse(wanted.action, response);
        const body: unknown = await response.body.json();
        if (!isJsonObject(body)) throw new Error('the answer is no JSON object');
        return body;
      } catch (thrown) {
        throw described(wanted.action, thrown);
      }
    });
  }

  async #send(
    wanted: Request,
    credentials: Credentials,
    pool: 'requests' | 'streams',
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    const url = new URL(`.${wanted.path}`, this.#base);
    for (const [name, value] of Object.entries(wanted.query ?? {})) if (value !== undefined) url.searchParams.set(name, value);
    const headers: Record<string, string> = { ...credentials.headers, accept: 'application/json', 'user-agent': 'dovecote' };
    if (wanted.body !== undefined) headers['content-type'] = wanted.contentType ?? 'application/json';
    const sent = request(url, {
      method: wanted.method,
      headers,
      body: wanted.body === undefined ? null : JSON.stringify(wanted.body),
      dispatcher: this.#poolsFor(credentials)[pool],
      signal,
      headersTimeout: 0, // the deadlines are ours: one clock, and an error that says what was being done
      bodyTimeout: 0,
    });
    if (wanted.signal === undefined || wanted.signal === signal) return sent;
    // A stream's own signal outlives this wait: the deadline for the first byte must end the request without ending it later.
    return raceAbort(sent, wanted.signal);
  }

  async #refuse(action: string, response: Dispatcher.ResponseData): Promise<never> {
    const text = await response.body.text();
    const retryAfter = response.headers['retry-after'];
    const seconds = Number(Array.isArray(retryAfter) ? retryAfter[0] : (retryAfter ?? Number.NaN));
    const refusal = {
      code: response.statusCode,
      body: parseJson(text),
      retryAfterMs: Number.isFinite(seconds) ? seconds * 1_000 : undefined,
    };
    const error = fromKube(action, refusal);
    throw response.statusCode === 401 ? new UnknownTokenError(error.message) : error;
  }

  #poolsFor({ tls, tlsId }: Credentials): Pools {
    if (this.#pools?.tlsId === tlsId) return this.#pools;
    if (this.#pools !== undefined) this.#retire(this.#pools, false);
    const { connections } = this.#options;
    const connect = { ...tls, timeout: 10_000, keepAlive: true, keepAliveInitialDelay: 30_000 } as buildConnector.BuildOptions;
    // Never HTTP/2, which undici would negotiate: where a request is aborted while it is being sent, Node 24 spins for ever in its
    // http2 write loop and the whole process stands still. Found with a Lease whose renewal was aborted.
    const allowH2 = false;
    const make = (limit: number | null): Dispatcher =>
      this.#source.proxyUrl === undefined
        ? new Agent({ connect, allowH2, connections: limit, keepAliveTimeout: 30_000 })
        : new ProxyAgent({ uri: this.#source.proxyUrl, requestTls: connect, allowH2, connections: limit });
    this.#pools = { tlsId, requests: make(connections), streams: make(null) };
    return this.#pools;
  }

  /** Lets what is under way with an old certificate end by itself, unless all has to end. */
  #retire({ requests, streams }: Pools, now: boolean): void {
    for (const pool of [requests, streams]) {
      const ended: Promise<void> = (now ? pool.destroy() : pool.close()).catch(() => {}).finally(() => this.#retired.delete(ended));
      this.#retired.add(ended);
    }
  }
}

class UnknownTokenError extends Error {
  override readonly name = 'UnknownTokenError';
}

/** Rejects with the signal's reason at once, whatever becomes of `result`. */
async function raceAbort<R>(result: Promise<R>, signal: AbortSignal): Promise<R> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  result.catch(() => {}); // when the abort wins, nobody else would read its rejection
  try {
    return await Promise.race([result, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function* lines(body: AsyncIterable<Uint8Array>, action: string): AsyncGenerator<JsonObject, void> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  for await (const chunk of body) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      const line = Buffer.concat([...pending, chunk.subarray(from, at)]).toString('utf8');
      pending = [];
      pendingBytes = 0;
      from = at + 1;
      if (line.trim() === '') continue;
      const parsed = parseJson(line);
      if (!isJsonObject(parsed)) throw new Error(`cannot ${action}: a line of the stream is no JSON object`);
      yield parsed;
    }
    if (from < chunk.length) pending.push(chunk.subarray(from));
    pendingBytes += chunk.length - from;
    if (pendingBytes > LINE_MAX_BYTES) throw new Error(`cannot ${action}: a line of the stream is longer than ${LINE_MAX_BYTES} bytes`);
  }
  if (pendingBytes > 0) throw new Error(`cannot ${action}: the stream ended in the middle of an event`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a proxy's HTML page, or half an answer: told by its status
  }
}

const STALE = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);
function isStaleSocket(e: unknown): boolean {
  const code = codeOf(types.isNativeError(e) && e.cause !== undefined ? e.cause : e);
  return code !== undefined && STALE.has(code);
}

/** Not by instanceof: under jest, errors of Node's own network code come from another realm. */
function codeOf(e: unknown): string | undefined {
  return types.isNativeError(e) && 'code' in e && typeof e.code === 'string' ? e.code : undefined;
}

/** A failure of the network in a sentence. What `fromKube` made has one already. */
function described(action: string, thrown: unknown): Error {
  const error = types.isNativeError(thrown) ? thrown : toError(thrown);
  const code = codeOf(error);
  return code === undefined ? error : new Error(`cannot ${action}: ${error.message} (${code})`, { cause: error });
}
