import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock } from '../lifecycle/clock.ts';

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
  readonly signal: AbortSignal;
  readonly onOutput: (stream: 'stdout' | 'stderr', data: Buffer) => void;
  /** called once it runs */
  readonly onStart?: (child: ChildProcess) => void;
}

/** How long output that is still in the pipes is waited for after the command itself ended, ms. */
const PIPE_GRACE_MS = 200;

/**
 * Runs a command in a process group of its own and ends the whole group with it: at its end, after `timeoutMs`, or when the
 * signal aborts. Rejects with ENOENT and the like when it cannot be started.
 */
export async function runCommand(command: readonly string[], options: CommandOptions): Promise<CommandEnd> {
  options.signal.throwIfAborted();
  const [file = '', ...args] = command;
  const child = spawn(file, args, { cwd: options.cwd, env: options.env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
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
  const onAbort = (): void => killGroup(child);
  options.signal.addEventListener('abort', onAbort, { once: true });
  const timer = options.clock.sleep(options.timeoutMs, stopTimer.signal).then(
    () => {
      timedOut = true;
      killGroup(child);
    },
    () => {}, // it ended in time
  );
  try {
    const end = await ended.promise;
    // A background process may hold the pipes open for ever: the group ends with its leader.
    killGroup(child);
    await Promise.race([piped.promise, options.clock.sleep(PIPE_GRACE_MS, stopTimer.signal).catch(() => {})]);
    return { ...end, timedOut };
  } finally {
    stopTimer.abort();
    options.signal.removeEventListener('abort', onAbort);
    child.stdout.destroy();
    child.stderr.destroy();
    child.stdin.destroy();
    await timer;
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // ESRCH: every process of the group has ended
  }
}
