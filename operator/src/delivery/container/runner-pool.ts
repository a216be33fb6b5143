/**
 * Connections to the ContainerService of awake sessions, one for each, made when first asked for. What came over Attach says where it
 * is and who it must be; nothing here outlives that.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { CALLER_HEADER, CERTIFICATE_NAME, health } from '@dovecote/proto';
import { Client, connectivityState, credentials, type ServiceError } from '@grpc/grpc-js';
import type { Counter } from 'prom-client';
import type { Clock } from '../../lib/clock.ts';
import { toError } from '../../lib/errors.ts';
import { CHANNEL_OPTIONS, Metadata, StatusError, status } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import type { RunnerEndpoint } from '../attach/hub.ts';
import { RUNNER_ADDRESS } from '../attach/runner-address.ts';

/** A connection that was not made within this time hangs on an address where nobody answers any more, ms. */
const STUCK_MS = 30_000;
/** A runner hears its secret a moment after delivery knows it. */
const SECRET_TRIES = 50;
const SECRET_WAIT_MS = 100;

export interface RunnerPoolDeps {
  /** how to reach the session's runner now; undefined: none is attached */
  readonly endpoint: (session: string) => RunnerEndpoint | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly evictions: Pick<Counter, 'inc'>;
}

/** A connection on which the runner has just shown that it is the right one, and takes us for the right caller. */
export interface RunnerConnection {
  readonly client: Client;
  /** to be sent with each call */
  readonly metadata: Metadata;
}

interface Entry {
  readonly endpoint: RunnerEndpoint;
  readonly client: Client;
  /** aborts when nobody may use it any more, with the sentence for those who wait */
  readonly closed: AbortController;
  /** of the secret it is keyed by: it changes when the same runner attaches anew */
  proof: { readonly secret: string; readonly done: Promise<void> } | undefined;
}

export class RunnerPool {
  readonly #deps: RunnerPoolDeps;
  readonly #entries = new Map<string, Entry>();

  constructor(deps: RunnerPoolDeps) {
    this.#deps = deps;
  }

  /** Connections that are open or being made. */
  get size(): number {
    return this.#entries.size;
  }

  /** However many ask at once, one connection is made. Rejects with StatusError UNAVAILABLE, or the signal's reason. */
  async connection(session: string, signal: AbortSignal): Promise<RunnerConnection> {
    const endpoint = this.#deps.endpoint(session);
    if (endpoint === undefined) throw unavailable(`no runner of session ${session} is attached`);
    this.refresh(session);
    const entry = this.#entries.get(session) ?? this.#dial(session, endpoint);
    if (entry.proof?.secret !== endpoint.callerSecret) entry.proof = { secret: endpoint.callerSecret, done: this.#prove(session, entry) };
    const { done } = entry.proof;
    done.catch(() => {}); // all who asked may have left
    await unlessAborted(done, signal);
    return { client: entry.client, metadata: callerMetadata(endpoint.callerSecret) };
  }

  /** What is known of the session's runner may have changed: a connection to another one is closed. */
  refresh(session: string): void {
    const entry = this.#entries.get(session);
    const endpoint = this.#deps.endpoint(session);
    if (entry === undefined) return;
    if (endpoint === undefined) this.#close(session, entry, `the runner of session ${session} went away`);
    else if (endpoint.address !== entry.endpoint.address || endpoint.certificate !== entry.endpoint.certificate)
      this.#close(session, entry, `session ${session} has a new runner`);
  }

  close(): void {
    for (const [session, entry] of this.#entries) this.#close(session, entry, 'delivery is shutting down');
  }

  #dial(session: string, endpoint: RunnerEndpoint): Entry {
    const pinned = fingerprint(session, endpoint);
    const client = new Client(
      endpoint.address,
      credentials.createSsl(Buffer.from(endpoint.certificate), null, null, {
        // The certificate is its own authority: whoever could sign another with its key would still be refused.
        checkServerIdentity: (_name, { raw }) =>
          digest(raw) === pinned ? undefined : new Error('this is not the certificate of that runner'),
      }),
      {
        ...CHANNEL_OPTIONS,
        'grpc.ssl_target_name_override': CERTIFICATE_NAME,
        // Another session at the same address is another runner: its connection must not be shared.
        'grpc.use_local_subchannel_pool': 1,
      },
    );
    const entry: Entry = { endpoint, client, closed: new AbortController(), proof: undefined };
    this.#entries.set(session, entry);
    void this.#evictWhenStuck(session, entry);
    return entry;
  }

  #close(session: string, entry: Entry, why: string): void {
    if (this.#entries.get(session) === entry) this.#entries.delete(session);
    entry.closed.abort(unavailable(`${why}: try again`));
    entry.client.close(); // calls in hand go on for as long as the other side answers them
  }

  /** Watches the connection's state until it is closed. */
  async #evictWhenStuck(session: string, entry: Entry): Promise<void> {
    const channel = entry.client.getChannel();
    let connecting: AbortController | undefined;
    while (!entry.closed.signal.aborted) {
      const state = channel.getConnectivityState(false);
      if (state === connectivityState.READY) {
        connecting?.abort();
        connecting = undefined;
      } else if (state !== connectivityState.IDLE && connecting === undefined) {
        connecting = new AbortController();
        const stop = AbortSignal.any([connecting.signal, entry.closed.signal]);
        this.#deps.clock.sleep(STUCK_MS, stop).then(
          () => {
            this.#deps.evictions.inc();
            this.#deps.log.warn({ session, address: entry.endpoint.address }, 'connection to a runner is stuck and given up');
            this.#close(session, entry, `no connection to the runner of session ${session} came about within ${STUCK_MS / 1000} s`);
          },
          () => {}, // it came about, or is closed
        );
      }
      // Rejected by a closed channel; the loop then sees that.
      await new Promise<void>((resolve) => channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => resolve()));
    }
  }

  /** Asks for health: the other side must have the pinned key, and take our secret. */
  async #prove(session: string, entry: Entry): Promise<void> {
    const { closed } = entry;
    for (let tries = 1; ; tries += 1) {
      const failure = await checkHealth(entry.client, this.#deps.endpoint(session)?.callerSecret ?? '', closed.signal);
      closed.signal.throwIfAborted();
      if (failure === undefined) return;
      if (failure.code !== status.UNAUTHENTICATED || tries === SECRET_TRIES) {
        entry.proof = undefined; // the next caller tries again
        throw unavailable(`the runner of session ${session} does not answer (${failure.details}): try again`);
      }
      await this.#deps.clock.sleep(SECRET_WAIT_MS, closed.signal);
    }
  }
}

function checkHealth(client: Client, secret: string, signal: AbortSignal): Promise<ServiceError | undefined> {
  const { path, requestSerialize, responseDeserialize } = health.HealthService.check;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const metadata = callerMetadata(secret);
    metadata.setOptions({ waitForReady: true }); // eviction ends the wait
    const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { service: '' }, metadata, {}, (error) => {
      signal.removeEventListener('abort', cancel);
      if (signal.aborted) reject(toError(signal.reason));
      else resolve(error ?? undefined);
    });
    const cancel = (): void => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
  });
}

function callerMetadata(secret: string): Metadata {
  const metadata = new Metadata();
  metadata.set(CALLER_HEADER, secret);
  return metadata;
}

function unavailable(sentence: string): StatusError {
  return new StatusError(status.UNAVAILABLE, sentence);
}

/** What a runner says of itself is input like any other. */
function fingerprint(session: string, { address, certificate }: RunnerEndpoint): string {
  try {
    if (!RUNNER_ADDRESS.test(address)) throw new Error('it is not an address and a port');
    return digest(new X509Certificate(certificate).raw);
  } catch (e) {
    throw new StatusError(status.UNAVAILABLE, `the runner of session ${session} does not say how it can be reached`, { cause: e });
  }
}

function digest(raw: Buffer): string {
  return createHash('sha256').update(raw).digest('hex');
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
