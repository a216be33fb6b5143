import type { Clock } from '../lifecycle/clock.ts';
import type { Random } from '../lifecycle/random.ts';
import { type CommandProcess, spawnWithPipes, type TerminalSize } from './command-process.ts';
import { COMMAND_MARK, endProcesses } from './end-processes.ts';
import { spawnInTerminal } from './terminal.ts';

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
  /** called once it runs; absent: its input is empty */
  readonly onStart?: (process: CommandProcess) => void;
  /** it gets a terminal of this size; absent: pipes */
  readonly terminal?: TerminalSize;
}

/** How long output that is still in the pipes is waited for after the command itself ended, ms. */
const PIPE_GRACE_MS = 200;

/**
 * Runs a command in a process group of its own and ends with it all that it started: at its end, after `timeoutMs`, or when the
 * signal aborts. Rejects with ENOENT and the like when it cannot be started.
 */
export async function runCommand(command: readonly string[], options: CommandOptions): Promise<CommandEnd> {
  options.signal.throwIfAborted();
  const mark = options.random.id(20);
  const start = { cwd: options.cwd, env: { ...options.env, [COMMAND_MARK]: mark }, onOutput: options.onOutput };
  const child = options.terminal === undefined ? spawnWithPipes(command, start) : spawnInTerminal(command, options.terminal, start);
  let timedOut = false;
  if (options.onStart === undefined) child.endInput();
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
    const end = await child.ended;
    endAll(); // a process in the background may hold the pipes open for ever: it ends with the command
    let drained = false;
    const output = child.drained.then(() => {
      drained = true;
    });
    // Output that waits for a slow reader is not lost to the grace.
    do await Promise.race([output, options.clock.sleep(PIPE_GRACE_MS, stopTimer.signal).catch(() => {})]);
    while (!drained && child.paused && !options.signal.aborted);
    return { ...end, timedOut };
  } finally {
    stopTimer.abort();
    options.signal.removeEventListener('abort', endAll);
    child.release();
    await timer;
  }
}
