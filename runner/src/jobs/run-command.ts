import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock } from '../lifecycle/clock.ts';
import type { Random } from '../lifecycle/random.ts';
import { COMMAND_MARK, endProcesses } from './end-processes.ts';

export interface CommandEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly timedOut: boolean;
}

export interface CommandOptions {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  readonly onOutput: (stream: 'stdout' | 'stderr', data: Buffer) => void;
  /** called once it runs */
  readonly onStart?: (child: ChildProcess) => void;
}

/** How long output that is still in the pipes is waited for after the command itself ended, ms. */
const PIPE_GRACE_MS = 200;

/**
 * Runs a command in a process group of its own and ends with it all that it started: at its end, after `timeoutMs`, or when the
 * signal aborts. Rejects with ENOENT and the like when it cannot be started.
 */
export async function runCommand(command: readonly string[], options: CommandOptions): Promise<CommandEnd> {
  options.signal.throwIfAborted();
  const [file = '', ...args] = command;
  const mark = options.random.id(20);
  const env = { ...options.env, [COMMAND_MARK]: mark };
  const child = spawn(file, args, { cwd: options.cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = Promise.withResolvers<CommandEnd>();
  const piped = Promise.withResolvers<void>();
  let timedOut = false;
  child.on('error', (error) => ended.reject(error)); // never started
  child.on('exit', (code, signal) => ended.resolve({ code, signal, timedOut }));
  child.on('close', () => piped.resolve());
  child.stdout.on('data', (data: Buffer) => options.onOutput('stdout', data));
  child.stderr.on('data', (data: Buffer) => options.onOutput('stderr', data));
  child.stdin.on('error', () => {}); // the command closed its input: its own business
  if (options.onStart === undefined) child.stdin.end();
  else options.onStart(child);

  const stopTimer = new AbortController();
  const endAll = (): void => {
    if (child.pid !== undefined) endProcesses(child.pid, mark);
  };
  options.signal.addEventListener('abort', endAll, { once: true });
  const timer = options.clock.sleep(options.timeoutMs, stopTimer.signal).then(
    () => {
      timedOut = true;
      endAll();
    },
    () => {}, // it ended in time
  );
  try {
    const end = await ended.promise;
    endAll(); // a process in the background may hold the pipes open for ever: it ends with the command
    await Promise.race([piped.promise, options.clock.sleep(PIPE_GRACE_MS, stopTimer.signal).catch(() => {})]);
    return { ...end, timedOut };
  } finally {
    stopTimer.abort();
    options.signal.removeEventListener('abort', endAll);
    child.stdout.destroy();
    child.stderr.destroy();
    child.stdin.destroy();
    await timer;
  }
}
