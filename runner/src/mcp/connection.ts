/**
 * One conversation with one server, from initialize to its end. Imports the SDK, and so is loaded only once an agent has a server:
 * others pay neither its time nor its memory.
 */
import { pathToFileURL } from 'node:url';
import type { McpServerConfig } from '@dovecote/proto';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { EmptyResultSchema, ListRootsRequestSchema, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import type { Clock } from '../lifecycle/clock.ts';
import { toError } from '../lifecycle/exit.ts';
import type { Log } from '../lifecycle/log.ts';
import type { Random } from '../lifecycle/random.ts';
import type { ProxyAccess } from '../tools/command-env.ts';
import { quoted, ServerFailure } from './failure.ts';
import { answered, clauseOf, isTimeout, neverRan } from './from-mcp.ts';
import { httpTransport } from './http-transport.ts';
import { readToolList, type ToolList, ToolPage } from './listed-tools.ts';
import { CallResult } from './render-result.ts';
import { StdioTransport } from './stdio-transport.ts';

export interface ConnectionLimits {
  /** until the tools are listed, ms */
  readonly startMs: number;
  /** until a server that may be gone answers a ping, ms */
  readonly pingMs: number;
}

/** The start is long because npx and its like fetch their program first. */
const LIMITS: ConnectionLimits = { startMs: 60_000, pingMs: 10_000 };
/** One call, however much progress it reports. */
const MAX_CALL_MS = 3_600_000;
const GOODBYE_MS = 1_000;
/** A request that nobody waits for any more gets so much longer before its connection is taken back. */
const SILENCE_MARGIN_MS = 5_000;
const LIST_WAIT_MS = 2_000;
/** A server that announces change upon change is listed no more often, ms. */
const LIST_PAUSE_MS = 1_000;
const MAX_ANSWER_CHARS = 4_000;
const MAX_PAGES = 64;
const MAX_LOGGED_ERRORS = 20;
const TOLD_TO_END = 'was told to end';

/** How this runner reaches servers. */
export interface Reach {
  /** of stdio servers: the folder they run in and the only one they are told of */
  readonly workspace: string;
  /** what a command of the model would get now; the server's own variables come on top */
  readonly env: () => Readonly<Record<string, string>>;
  readonly proxy: ProxyAccess | undefined;
  /** of this runner */
  readonly version: string;
}

export interface ConnectionOptions {
  readonly server: McpServerConfig;
  readonly reach: Reach;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly limits?: ConnectionLimits | undefined;
  /** the list as it is after the start, and after each change that the server announces */
  readonly onTools: (list: ToolList) => void;
}

export interface CallOptions {
  readonly signal: AbortSignal;
  /** how long the server may say nothing, ms */
  readonly timeoutMs: number;
  readonly onProgress: () => void;
}

/**
 * Why there is no result: a clause that begins with a verb. `refused`: by the server itself, in its own words. `neverRan`: it may be sent
 * again without doing anything twice. `unknown`: the server ended, or its answer did not come.
 */
export class CallError extends Error {
  override readonly name = 'CallError';
  readonly outcome: CallOutcome;
  constructor(clause: string, outcome: CallOutcome, options: ErrorOptions) {
    super(clause, options);
    this.outcome = outcome;
  }
}
export type CallOutcome = 'refused' | 'neverRan' | 'unknown';

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #limits: ConnectionLimits;
  readonly #client: Client;
  readonly #transport: StdioTransport | StreamableHTTPClientTransport;
  readonly #end = Promise.withResolvers<string>();
  #ended: string | undefined;
  #listing: Promise<void> | undefined;
  #listAgain = false;
  #checking = false;
  #errors = 0;
  #started = false;
  #doing = 'answer initialize';

  /** Starts, greets and lists. Throws ServerFailure; nothing is left running then. */
  static async open(options: ConnectionOptions, signal: AbortSignal): Promise<Connection> {
    const connection = new Connection(options);
    const over = new AbortController();
    const { startMs } = connection.#limits;
    const limit = options.clock.sleep(startMs, over.signal).then(
      () => connection.#finish(`did not ${connection.#doing} within ${Math.ceil(startMs / 1000)} s`),
      () => {}, // it started in time
    );
    const onAbort = (): void => connection.#finish(TOLD_TO_END);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const ended = connection.ended.then((clause) => {
      throw new ServerFailure(clause);
    });
    try {
      await Promise.race([ended, connection.#start()]);
      connection.#started = true;
      return connection;
    } catch (e) {
      const clause = connection.#ended ?? clauseOf(e, connection.#doing);
      await connection.close();
      throw new ServerFailure(clause, { cause: e });
    } finally {
      ended.catch(() => {}); // it is looked at elsewhere from now on
      signal.removeEventListener('abort', onAbort);
      over.abort();
      await limit;
    }
  }

  private constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
    const stdio = options.server.type === 'stdio';
    this.#transport = stdio ? this.#stdio() : this.#http();
    this.#client = new Client(
      { name: 'dovecote', version: options.reach.version },
      {
        // A remote server has no business with our folders. Sampling and elicitation are not offered, and so refused.
        capabilities: stdio ? { roots: {} } : {},
        // Results are read by us: the SDK compiles each output schema, and one that is broken would fail the whole list.
        jsonSchemaValidator: { getValidator: () => (data) => ({ valid: true, data: data as never, errorMessage: undefined }) },
      },
    );
    if (stdio) {
      const root = { uri: pathToFileURL(options.reach.workspace).href, name: 'workspace' };
      this.#client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [root] }));
    }
    this.#client.setNotificationHandler(ToolListChangedNotificationSchema, () => this.#onListChanged());
    this.#client.onclose = () => this.#onClose();
    this.#client.onerror = (error) => this.#onError(error);
  }

  /** Resolves, when the conversation is over, with why: a clause that begins with a verb. */
  get ended(): Promise<string> {
    return this.#end.promise;
  }

  /** Throws CallError, or the signal's reason, after the server was told that the call is cancelled. */
  async call(name: string, args: Readonly<Record<string, unknown>>, { signal, timeoutMs, onProgress }: CallOptions): Promise<CallResult> {
    signal.throwIfAborted();
    // The SDK never takes its listener away: with the turn's own signal, its end would cancel every call that it ever made.
    const cancel = new AbortController();
    const onAbort = (): void => cancel.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const result = await this.#client.request({ method: 'tools/call', params: { name, arguments: args } }, CallResult, {
        signal: cancel.signal,
        timeout: timeoutMs,
        maxTotalTimeout: Math.max(MAX_CALL_MS, timeoutMs),
        resetTimeoutOnProgress: true,
        onprogress: onProgress,
      });
      // A call that changes the tools is followed by a step that is to have the new ones.
      if (this.#listing !== undefined) await this.#atMost(LIST_WAIT_MS, this.#listing);
      return result;
    } catch (e) {
      signal.throwIfAborted();
      if (answered(e)) throw new CallError(`answered: ${quoted(toError(e).message, MAX_ANSWER_CHARS)}`, 'refused', { cause: e });
      const over = this.#ended;
      if (over === undefined) this.#check(e);
      throw new CallError(over ?? clauseOf(e, 'answer'), neverRan(e) ? 'neverRan' : 'unknown', { cause: e });
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Ends it, and the process behind it. Never rejects. */
  async close(): Promise<void> {
    this.#finish(TOLD_TO_END);
    // A courtesy: sessions time out by themselves.
    if (this.#transport instanceof StreamableHTTPClientTransport)
      await this.#atMost(
        GOODBYE_MS,
        this.#transport.terminateSession().catch(() => {}),
      );
    await this.#client.close().catch((e: unknown) => this.#onError(toError(e)));
    await this.#transport.close();
    await this.#listing;
  }

  /** No limits but that over the whole start: a client must not cancel initialize, but may close. */
  async #start(): Promise<void> {
    await this.#client.connect(this.#transport, { timeout: MAX_CALL_MS });
    this.#doing = 'list its tools';
    if (this.#client.getServerCapabilities()?.tools === undefined) this.#options.onTools({ tools: [], refused: [] });
    else this.#options.onTools(await this.#list(MAX_CALL_MS));
  }

  async #list(timeout: number): Promise<ToolList> {
    const listed: unknown[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const params = cursor === undefined ? {} : { cursor };
      const { tools, nextCursor } = await this.#client.request({ method: 'tools/list', params }, ToolPage, { timeout });
      listed.push(...tools);
      if (nextCursor === undefined || nextCursor === cursor) break;
      cursor = nextCursor;
    }
    return readToolList(listed);
  }

  /** One look at a time; what changes meanwhile is seen by the next. */
  #onListChanged(): void {
    this.#listAgain = true;
    this.#listing ??= this.#relist().finally(() => {
      this.#listing = undefined;
    });
  }

  async #relist(): Promise<void> {
    while (this.#listAgain && this.#ended === undefined) {
      this.#listAgain = false;
      try {
        this.#options.onTools(await this.#list(this.#limits.startMs));
      } catch (e) {
        if (this.#ended !== undefined) return;
        this.#options.log.warn({ reason: clauseOf(e, 'list its tools') }, 'the tools of an MCP server changed, but were not listed again');
        this.#check(e);
      }
      if (this.#listAgain)
        await this.#atMost(
          LIST_PAUSE_MS,
          this.ended.then(() => {}),
        );
    }
  }

  /** After an error that may be the server's end: a server that is there answers a ping. One look at a time. */
  #check(cause: unknown): void {
    if (this.#checking || this.#ended !== undefined) return;
    this.#checking = true;
    void this.#client
      .request({ method: 'ping' }, EmptyResultSchema.loose(), { timeout: this.#limits.pingMs })
      .catch((e: unknown) => {
        if (!answered(e)) this.#finish(isTimeout(e) ? 'does not answer any more' : clauseOf(e, 'answer'), cause);
      })
      .finally(() => {
        this.#checking = false;
      });
  }

  #onClose(): void {
    // The SDK closes before it says what was wrong at the start; a process that ended has the better reason.
    if (this.#started || this.#transport instanceof StdioTransport) this.#finish('closed its connection');
  }

  #onError(error: Error): void {
    this.#errors += 1;
    if (this.#errors <= MAX_LOGGED_ERRORS) this.#options.log.debug({ error: quoted(error.message) }, 'trouble with an MCP server');
    // A process that ends says so. Of a remote server a broken stream may be all that is seen.
    if (this.#transport instanceof StreamableHTTPClientTransport && this.#started) this.#check(error);
  }

  #finish(clause: string, cause?: unknown): void {
    if (this.#ended !== undefined) return;
    const failure = this.#transport instanceof StdioTransport ? this.#transport.failure : undefined;
    this.#ended = failure?.message ?? clause;
    if (cause !== undefined) this.#options.log.debug({ error: quoted(toError(cause).message) }, 'an MCP server is given up');
    this.#end.resolve(this.#ended);
  }

  async #atMost(ms: number, work: Promise<void>): Promise<void> {
    const enough = new AbortController();
    await Promise.race([work, this.#options.clock.sleep(ms, enough.signal).catch(() => {})]);
    enough.abort();
  }

  #stdio(): StdioTransport {
    const { server, reach, clock, random, log } = this.#options;
    const env = { ...reach.env(), ...server.env };
    return new StdioTransport({ command: server.command ?? [], cwd: reach.workspace, env, clock, random, log });
  }

  #http(): StreamableHTTPClientTransport {
    const { server, reach, clock } = this.#options;
    if (reach.proxy === undefined) throw new ServerFailure('needs the proxy, which this runner was not given');
    return httpTransport({
      url: `${reach.proxy.url}/mcp/${server.name}`,
      tokenFile: reach.proxy.tokenFile,
      clock,
      silenceMs: Math.max(server.timeoutMs, this.#limits.startMs) + SILENCE_MARGIN_MS,
      onFlood: (clause) => this.#finish(`was given up because it ${clause}`),
    });
  }
}
