import { isUtf8 } from 'node:buffer';
import type { McpServerConfig, PathJail, containerService as proto, TwoWays } from '@dovecote/proto';
import { status } from '@grpc/grpc-js';
import type { CommandProcess } from '../jobs/command-process.ts';
import { type CommandEnd, runCommand } from '../jobs/run-command.ts';
import type { Clock } from '../lifecycle/clock.ts';
import type { Random } from '../lifecycle/random.ts';
import { LineReader, LineTooLongError } from '../mcp/stdio-framing.ts';
import { KeptOutput } from '../tools/kept-output.ts';
import { type Envelope, parseEnvelope } from './json-rpc.ts';
import { StatusError } from './status-error.ts';

const DEFAULT_IDLE_MS = 600_000;
const MAX_IDLE_MS = 86_400_000;
/** One gRPC message holds at most 4 MiB. */
const MAX_LINE_BYTES = 3 * 1024 * 1024;
const STDERR_TAIL_BYTES = 8 * 1024;
const MAX_OPEN = 16;
/** How long a server may take to end once its input has ended, ms. */
const END_GRACE_MS = 5_000;
const FOR_EVER_MS = 7 * 86_400_000;
/** JSON-RPC leaves -32000 to -32099 to servers. */
const SERVER_GONE = -32_000;

export interface McpDeps {
  readonly files: PathJail;
  readonly env: () => Readonly<Record<string, string>>;
  /** of the AgentGroup; undefined: it has none of that name */
  readonly server: (name: string) => McpServerConfig | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

type Ways = TwoWays<proto.McpRequest, proto.McpResponse>;
type Reason = 'Ended' | 'Idle' | 'Crashed' | 'Malformed';

/** MCP servers that callers speak with, one process for each call. The runner passes messages on and says nothing of its own to a server. */
export class McpCalls {
  readonly #deps: McpDeps;
  #open = 0;

  constructor(deps: McpDeps) {
    this.#deps = deps;
  }

  /** One call from its first message to its McpExit. Throws StatusError, JailError. */
  async serve(ways: Ways): Promise<void> {
    const first = await ways.requests.next();
    if (first.done === true || first.value.part?.$case !== 'start')
      throw new StatusError(status.INVALID_ARGUMENT, 'the first message must be `start`');
    const start = first.value.part.value;
    const { command, env } = this.#program(start);
    if (this.#open >= MAX_OPEN)
      throw new StatusError(status.RESOURCE_EXHAUSTED, `${MAX_OPEN} MCP sessions are open already; end one first`);
    this.#open += 1;
    try {
      const idleMs = Math.min(start.idleTimeoutMs > 0 ? start.idleTimeoutMs : DEFAULT_IDLE_MS, MAX_IDLE_MS);
      await new McpCall(ways, this.#deps, idleMs).run(command, { ...this.#deps.env(), ...env, ...start.env });
    } finally {
      this.#open -= 1;
    }
  }

  #program({ server, command }: proto.McpStart): { command: readonly string[]; env: Readonly<Record<string, string>> } {
    if ((server === '') === (command.length === 0))
      throw new StatusError(status.INVALID_ARGUMENT, 'either `server` or `command` must be given, and not both');
    if (server === '') return { command, env: {} };
    const config = this.#deps.server(server);
    if (config === undefined) throw new StatusError(status.NOT_FOUND, `the agent has no MCP server ${server}`);
    if (config.type !== 'stdio' || config.command === undefined)
      throw new StatusError(status.INVALID_ARGUMENT, `the MCP server ${server} does not speak over stdio: call it where it is`);
    return { command: config.command, env: config.env ?? {} };
  }
}

class McpCall {
  readonly #ways: Ways;
  readonly #deps: McpDeps;
  readonly #idleMs: number;
  /** requests of the caller's that have no answer yet, by their id as JSON */
  readonly #pending = new Map<string, string | number>();
  readonly #stop = new AbortController();
  readonly #lines = new LineReader(MAX_LINE_BYTES);
  readonly #stderr = new KeptOutput(0, STDERR_TAIL_BYTES);
  #process: CommandProcess | undefined;
  #sending: Promise<void> = Promise.resolve();
  #waiting = 0;
  #movedAt: number;
  #reason: Reason | undefined;
  #refusal: StatusError | undefined;

  constructor(ways: Ways, deps: McpDeps, idleMs: number) {
    this.#ways = ways;
    this.#deps = deps;
    this.#idleMs = idleMs;
    this.#movedAt = deps.clock.now();
  }

  async run(command: readonly string[], env: Readonly<Record<string, string>>): Promise<void> {
    const { files, clock, random } = this.#deps;
    const { gone } = this.#ways;
    const over = new AbortController();
    const beside = [this.#reapIdle(over.signal)];
    let end: CommandEnd;
    try {
      end = await runCommand(command, {
        cwd: files.realPath('.'),
        env,
        timeoutMs: FOR_EVER_MS,
        clock,
        random,
        signal: AbortSignal.any([gone, this.#stop.signal]),
        onOutput: (stream, data) => (stream === 'stdout' ? this.#hear(data) : this.#stderr.add(data)),
        onStart: (process) => {
          this.#process = process;
          beside.push(this.#feed(process, over.signal));
        },
      });
    } catch (e) {
      const code = (e as NodeJS.ErrnoException).code;
      if (typeof code === 'string' && !gone.aborted)
        throw new StatusError(status.NOT_FOUND, `cannot run ${command[0]?.slice(0, 200)}: ${code}`);
      throw e;
    } finally {
      over.abort();
      await Promise.all(beside);
    }
    if (this.#refusal !== undefined) throw this.#refusal;
    await this.#sending;
    await this.#tellEnd(end);
  }

  async #tellEnd({ code, signal }: CommandEnd): Promise<void> {
    const reason = this.#reason ?? (code === 0 && this.#pending.size === 0 ? 'Ended' : 'Crashed');
    for (const id of this.#pending.values()) {
      const error = { code: SERVER_GONE, message: `the MCP server ended before it answered (${reason})` };
      await this.#ways.send({ part: { $case: 'message', value: JSON.stringify({ jsonrpc: '2.0', id, error }) } });
    }
    const exit = { code: code ?? -1, signal: signal ?? '', reason, stderrTail: this.#stderr.text() };
    await this.#ways.send({ part: { $case: 'exit', value: exit } });
  }

  /** From the server. */
  #hear(data: Buffer): void {
    if (this.#reason === 'Malformed') return;
    try {
      for (const line of this.#lines.push(data)) {
        const text = isUtf8(line) ? line.toString() : '';
        const envelope = parseEnvelope(text);
        if (envelope === undefined) {
          this.#end('Malformed');
          return;
        }
        if (envelope.kind === 'response') this.#pending.delete(JSON.stringify(envelope.id));
        this.#pass(text);
      }
    } catch (e) {
      if (!(e instanceof LineTooLongError)) throw e;
      this.#end('Malformed');
    }
  }

  /** To the caller, in order; the server waits while the caller does not read. */
  #pass(message: string): void {
    this.#movedAt = this.#deps.clock.now();
    this.#waiting += 1;
    this.#process?.pause();
    this.#sending = this.#sending
      .then(() => this.#ways.send({ part: { $case: 'message', value: message } }))
      .catch(() => {}) // the caller has left, which ends the server
      .then(() => {
        this.#waiting -= 1;
        if (this.#waiting === 0) this.#process?.resume();
      });
  }

  /** From the caller. */
  async #feed(process: CommandProcess, over: AbortSignal): Promise<void> {
    try {
      const { requests } = this.#ways;
      for (let next = await unlessOver(requests.next(), over); next?.done === false; next = await unlessOver(requests.next(), over)) {
        const { part } = next.value;
        const envelope = part?.$case === 'message' ? parseEnvelope(part.value) : undefined;
        if (part?.$case !== 'message' || envelope === undefined) {
          this.#refusal = new StatusError(status.INVALID_ARGUMENT, 'every message after `start` must be one JSON-RPC 2.0 message');
          return this.#end('Ended');
        }
        this.#expect(envelope);
        this.#movedAt = this.#deps.clock.now();
        // Between its tokens JSON may have line ends, which would cut the frame; within a string it has none.
        await written(process, `${part.value.replaceAll(/[\r\n]+/g, ' ')}\n`, over);
      }
      if (over.aborted) return;
      process.endInput();
      await this.#deps.clock.sleep(END_GRACE_MS, over);
      this.#end('Ended');
    } catch {
      // The caller has left, or the server has ended: either way runCommand knows.
    }
    if (!over.aborted) this.#end('Ended');
  }

  #expect(envelope: Envelope): void {
    if (envelope.kind === 'request') this.#pending.set(JSON.stringify(envelope.id), envelope.id);
    // A server need not answer what is cancelled.
    if (envelope.kind === 'notification' && envelope.cancels !== undefined) this.#pending.delete(JSON.stringify(envelope.cancels));
  }

  async #reapIdle(over: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    try {
      for (let left = this.#idleMs; left > 0; left = this.#movedAt + this.#idleMs - clock.now()) await clock.sleep(left, over);
      this.#end('Idle');
    } catch {
      // it has ended before
    }
  }

  #end(reason: Reason): void {
    this.#reason ??= reason;
    this.#stop.abort(new Error(reason));
  }
}

/** undefined when `over` aborts first. */
async function unlessOver<T>(promise: Promise<T>, over: AbortSignal): Promise<T | undefined> {
  if (over.aborted) return undefined;
  const aborted = Promise.withResolvers<undefined>();
  const onAbort = (): void => aborted.resolve(undefined);
  over.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    over.removeEventListener('abort', onAbort);
  }
}

/** Resolves when the server can take more, or has ended. */
async function written({ stdin }: CommandProcess, line: string, over: AbortSignal): Promise<void> {
  if (!stdin.writable || stdin.write(line)) return;
  const drained = Promise.withResolvers<void>();
  stdin.once('drain', drained.resolve);
  stdin.once('close', drained.resolve);
  await unlessOver(drained.promise, over);
  stdin.off('drain', drained.resolve);
  stdin.off('close', drained.resolve);
}
