/** One server, kept alive: started, listened to, and started again, later each time, when it ends. */
import type { McpServerConfig } from '@dovecote/proto';
import type { Clock } from '../lifecycle/clock.ts';
import { toError } from '../lifecycle/exit.ts';
import type { Log } from '../lifecycle/log.ts';
import type { Random } from '../lifecycle/random.ts';
import { ToolError } from '../tools/tool.ts';
import type { CallOutcome, Connection, ConnectionLimits, Reach } from './connection.ts';
import type { ToolList } from './listed-tools.ts';
import type { CallResult } from './render-result.ts';

const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 300_000;
/** A server that ran for this long is no longer one that fails at its start. */
const STABLE_MS = 60_000;
/** How long a call waits for a server that is just being started again, ms. */
export const CALL_WAIT_MS = 15_000;

/** What the model must know before it calls again. */
const EFFECT: Readonly<Record<CallOutcome, string>> = {
  refused: '',
  neverRan: '. The call was not made.',
  unknown: '. Whether the call had an effect is not known.',
};

export interface SupervisorDeps {
  readonly reach: Reach;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly limits?: ConnectionLimits;
  /** its tools, or why it is not there, are no longer what they were */
  readonly onChange: () => void;
}

export interface Call {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: () => void;
}

export class SupervisedServer {
  readonly name: string;
  readonly #config: McpServerConfig;
  readonly #deps: SupervisorDeps;
  readonly #log: Log;
  readonly #stop = new AbortController();
  readonly #settled = Promise.withResolvers<void>();
  readonly #stopped: Promise<void>;
  /** the next life: its connection, and its end */
  #next = Promise.withResolvers<Connection>();
  #over = Promise.withResolvers<void>();
  #connection: Connection | undefined;
  #list: ToolList = { tools: [], refused: [] };
  #reason: string | undefined;
  #retryAt = 0;
  #running: Promise<void> | undefined;

  constructor(config: McpServerConfig, deps: SupervisorDeps) {
    this.name = config.name;
    this.#config = config;
    this.#deps = deps;
    this.#log = deps.log.child({ server: config.name });
    this.#stopped = new Promise((resolve) => this.#stop.signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  /** What it listed last; kept while it is away, so that the model's prompt stays the same. */
  get tools(): ToolList['tools'] {
    return this.#list.tools;
  }

  /** Why it cannot be used: a clause that begins with a verb. undefined: it can. */
  get absent(): string | undefined {
    return this.#connection !== undefined ? undefined : (this.#reason ?? 'is still starting');
  }

  /** Resolves when it has been up, or has failed, for the first time. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  start(): void {
    this.#running ??= this.#supervise(this.#stop.signal);
  }

  /** Ends it. Resolves when nothing of it runs. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the server was removed'));
    await this.#running;
  }

  /** Throws ToolError in words for the model, or the signal's reason. */
  async call({ tool, args, ...options }: Call): Promise<CallResult> {
    for (let tries = 1; ; tries += 1) {
      const connection = this.#connection ?? (await this.#wait(options.signal));
      try {
        return await connection.call(tool, args, options);
      } catch (e) {
        options.signal.throwIfAborted();
        const { outcome = 'unknown' } = e as { outcome?: CallOutcome };
        if (outcome === 'neverRan' && tries === 1) {
          // That connection is over, or will be found to be: the next try is for the one after it.
          if (this.#connection === connection) await this.#soon(this.#over.promise, options.signal);
          continue;
        }
        throw new ToolError(`The MCP server ${this.name} ${toError(e).message}${EFFECT[outcome]}`, { cause: e });
      }
    }
  }

  async #supervise(stop: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    for (let failures = 0; !stop.aborted; ) {
      const startedAt = clock.now();
      const reason = await this.#once(stop);
      if (stop.aborted) break;
      failures = clock.now() - startedAt >= STABLE_MS ? 1 : failures + 1;
      const waitMs = this.#backoff(failures);
      this.#retryAt = clock.now() + waitMs;
      this.#reason ??= reason; // the first one: the prompt must not change with each try
      this.#settled.resolve();
      this.#log.warn({ reason, failures, waitMs }, 'an MCP server is not there');
      this.#deps.onChange();
      await clock.sleep(waitMs, stop).catch(() => {});
    }
    this.#settled.resolve();
    this.#next.promise.catch(() => {}); // nobody may be waiting
    this.#next.reject(new ToolError(`The MCP server ${this.name} was removed from this agent's settings, or the session ends.`));
  }

  /** One life of it. Answers with why it ended. */
  async #once(stop: AbortSignal): Promise<string> {
    const { reach, clock, random, limits } = this.#deps;
    let connection: Connection;
    try {
      const { Connection } = await import('./connection.ts');
      const onTools = (list: ToolList): void => this.#onTools(list);
      connection = await Connection.open({ server: this.#config, reach, clock, random, log: this.#log, limits, onTools }, stop);
    } catch (e) {
      return toError(e).message;
    }
    this.#connection = connection;
    this.#reason = undefined;
    this.#next.resolve(connection);
    this.#settled.resolve();
    this.#log.info({ tools: this.#list.tools.length }, 'an MCP server is up');
    this.#deps.onChange();
    const reason = await Promise.race([connection.ended, this.#stopped]);
    this.#connection = undefined;
    this.#next = Promise.withResolvers();
    this.#over.resolve();
    this.#over = Promise.withResolvers();
    await connection.close();
    return reason ?? 'was told to end';
  }

  #onTools(list: ToolList): void {
    const before = new Set(this.#list.refused.map(({ name, fault }) => `${name}: ${fault}`));
    for (const { name, fault } of list.refused) {
      if (!before.has(`${name}: ${fault}`)) this.#log.warn({ tool: name, fault }, 'a tool of an MCP server is left out');
    }
    this.#list = list;
    this.#deps.onChange();
  }

  /** The next connection. Throws ToolError when it will not be there soon. */
  async #wait(signal: AbortSignal): Promise<Connection> {
    const leftMs = this.#retryAt - this.#deps.clock.now();
    const connection = leftMs <= CALL_WAIT_MS ? await this.#soon(this.#next.promise, signal) : undefined;
    if (connection !== undefined) return connection;
    const again = leftMs > CALL_WAIT_MS ? `It is started again in ${Math.ceil(leftMs / 1000)} s.` : 'It is being started again.';
    throw new ToolError(`The MCP server ${this.name} ${this.absent ?? 'is not there'}. The call was not made. ${again}`);
  }

  /** undefined: it took too long. Throws the signal's reason. */
  async #soon<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    const enough = new AbortController();
    const patience = this.#deps.clock.sleep(CALL_WAIT_MS, AbortSignal.any([signal, enough.signal])).catch(() => undefined);
    try {
      const found = await Promise.race([promise, patience]);
      signal.throwIfAborted();
      return found ?? undefined;
    } finally {
      enough.abort();
    }
  }

  #backoff(failures: number): number {
    const full = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (failures - 1));
    return Math.round(full * (0.75 + this.#deps.random.fraction() / 2));
  }
}
