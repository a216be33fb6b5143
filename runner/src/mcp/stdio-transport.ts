/**
 * A server as a child process. The SDK's own transport keeps the server in our process group, copies its whole buffer at each
 * chunk and ends only the process itself: a server that floods, forks or dies needs more than that.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { type JSONRPCMessage, JSONRPCMessageSchema } from '@modelcontextprotocol/sdk/types.js';
import { COMMAND_MARK, endProcesses, signalGroup } from '../jobs/end-processes.ts';
import type { Clock } from '../lifecycle/clock.ts';
import { toError } from '../lifecycle/exit.ts';
import type { Log } from '../lifecycle/log.ts';
import type { Random } from '../lifecycle/random.ts';
import { NotDeliveredError, quoted, ServerFailure } from './failure.ts';
import { FloodGauge } from './flood-gauge.ts';
import { StderrTail } from './stderr-tail.ts';
import { frame, LineReader, LineTooLongError } from './stdio-framing.ts';

const MAX_LINE_BYTES = 16 * 1024 * 1024;
/** Written to the server and not read by it. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;
/** Lines on standard output that are no messages: a banner is forgiven, more is a program that is no server. */
const MAX_STRAY_LINES = 20;
/** From the end of the input to SIGTERM, and from there to SIGKILL, ms. */
const CLOSE_GRACE_MS = 500;
/** How long the last words of an ended process are waited for, ms: a grandchild may hold the pipes for ever. */
const LAST_WORDS_MS = 200;

export interface StdioOptions {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

export class StdioTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly #options: StdioOptions;
  readonly #lines = new LineReader(MAX_LINE_BYTES);
  readonly #gauge: FloodGauge;
  readonly #stderr: StderrTail;
  readonly #mark: string;
  readonly #ended = Promise.withResolvers<void>();
  #child: Child | undefined;
  #failure: ServerFailure | undefined;
  #stray = 0;

  constructor(options: StdioOptions) {
    this.#options = options;
    this.#mark = options.random.id(20);
    this.#gauge = new FloodGauge(options.clock);
    this.#stderr = new StderrTail(options.log);
  }

  /** Why it ended. undefined: it has not, or it was told to. */
  get failure(): ServerFailure | undefined {
    return this.#failure;
  }

  /** Resolves when the process runs. Throws ServerFailure when it cannot be started. */
  async start(): Promise<void> {
    const { command, cwd, env } = this.#options;
    const [file = '', ...args] = command;
    // A group of its own and a mark that is inherited, so that whatever it starts ends with it.
    const child = spawn(file, args, { cwd, env: { ...env, [COMMAND_MARK]: this.#mark }, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    const piped = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.once('exit', (code, signal) => void this.#onExit(code, signal, piped));
    child.stdout.on('data', (chunk: Buffer) => this.#onOutput(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      this.#stderr.add(chunk);
      if (!this.#gauge.add(chunk.length, 0)) this.#fail('flooded its standard error');
    });
    child.stdin.on('error', () => {}); // whoever writes learns of it
    try {
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
    } catch (e) {
      this.#child = undefined;
      this.#ended.resolve();
      const { code } = e as NodeJS.ErrnoException;
      const why = code === 'ENOENT' ? 'there is no such program' : code === 'EACCES' ? 'it may not be run' : code;
      throw new ServerFailure(`cannot be started: ${quoted(file)}: ${why ?? toError(e).message}`, { cause: e });
    }
  }

  /** Resolves when the system has taken the message. Throws NotDeliveredError. */
  async send(message: JSONRPCMessage): Promise<void> {
    const stdin = this.#child?.stdin;
    if (stdin === undefined || !stdin.writable) throw new NotDeliveredError('the server has ended');
    const line = frame(message);
    if (stdin.writableLength + line.length > MAX_UNREAD_BYTES) {
      this.#fail('does not read what is sent to it');
      throw new NotDeliveredError('the server does not read its input');
    }
    await new Promise<void>((resolve, reject) => {
      stdin.write(line, (e) => (e ? reject(new NotDeliveredError('the server has ended', { cause: e })) : resolve()));
    });
  }

  /** As the protocol has it: the end of its input tells it to end, then SIGTERM does, then it is ended. Resolves when it is gone. */
  async close(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const { clock } = this.#options;
    const enough = new AbortController();
    const insist = async (): Promise<void> => {
      await clock.sleep(CLOSE_GRACE_MS, enough.signal);
      if (child.pid !== undefined) signalGroup(child.pid, 'SIGTERM');
      await clock.sleep(CLOSE_GRACE_MS, enough.signal);
      this.#kill();
    };
    child.stdin.end();
    const insisting = insist().catch(() => {}); // it ended in time
    await this.#ended.promise;
    enough.abort();
    await insisting;
  }

  #onOutput(chunk: Buffer): void {
    if (this.#failure !== undefined) return; // killed: what is left in the pipe is of no use
    let messages = 0;
    try {
      for (const line of this.#lines.push(chunk)) {
        messages += 1;
        this.#onLine(line);
        if (this.#failure !== undefined) return;
      }
    } catch (e) {
      if (!(e instanceof LineTooLongError)) throw e;
      this.#fail(`wrote a line longer than ${MAX_LINE_BYTES / 1024 / 1024} MiB to its standard output`);
      return;
    }
    if (!this.#gauge.add(chunk.length, messages)) this.#fail('floods: it sends more than can be read');
  }

  #onLine(line: Buffer): void {
    const message = parse(line);
    if (message !== undefined) {
      this.onmessage?.(message);
      return;
    }
    this.#stray += 1;
    const start = line.subarray(0, 400).toString();
    if (/^\s*[{[]/.test(start)) this.#fail(`wrote something that is no JSON-RPC message: ${quoted(start)}`);
    else if (this.#stray > MAX_STRAY_LINES) this.#fail(`writes text where messages belong: ${quoted(start)}`);
    else this.#options.log.debug({ line: quoted(start) }, 'an MCP server wrote a line that is no message');
  }

  #fail(clause: string): void {
    this.#failure ??= new ServerFailure(`was ended because it ${clause}`);
    this.#kill();
  }

  #kill(): void {
    const pid = this.#child?.pid;
    if (pid !== undefined) endProcesses(pid, this.#mark);
  }

  async #onExit(code: number | null, signal: NodeJS.Signals | null, piped: Promise<void>): Promise<void> {
    const child = this.#child;
    this.#kill(); // what it started ends with it
    const enough = new AbortController();
    await Promise.race([piped, this.#options.clock.sleep(LAST_WORDS_MS, enough.signal).catch(() => {})]);
    enough.abort();
    for (const stream of [child?.stdin, child?.stdout, child?.stderr]) stream?.destroy();
    const words = this.#stderr.text();
    const how = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
    this.#failure ??= new ServerFailure(words === '' ? how : `${how} (its last words: ${words})`);
    this.#ended.resolve();
    this.onclose?.();
  }
}

function parse(line: Buffer): JSONRPCMessage | undefined {
  try {
    return JSONRPCMessageSchema.safeParse(JSON.parse(line.toString())).data;
  } catch {
    return undefined; // not JSON, or nested beyond all sense
  }
}
