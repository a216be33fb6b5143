/** One child process with a group of its own, and a file that lets a later run of this program find it. */
import { spawn } from 'node:child_process';
import type { Clock } from '../../lib/clock.ts';
import type { Command } from './command.ts';
import { codeOf } from './error-code.ts';
import type { LogFile } from './log-file.ts';

/**
 * The child itself writes who it is before it becomes the runner. Written by us, a kill between start and write would leave a
 * runner that nobody knows of, and a second one would be started on its cell.
 */
const LAUNCHER = [
  'umask 077',
  '{ echo "$$"; cat "/proc/$$/stat" 2>/dev/null || ps -o lstart= -p "$$"; cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none; } >"$0.new"',
  'mv "$0.new" "$0" && exec "$@"',
].join('\n');

export interface Ended {
  /** 128 + its number for a signal, as a shell has it. */
  readonly exitCode: number;
  readonly signal: NodeJS.Signals | null;
}

/** How long the pipes of an ended child are waited for: a grandchild that left the group may hold them for ever. */
const LAST_WORDS_MS = 500;

const SIGNAL_NUMBERS: Readonly<Partial<Record<NodeJS.Signals, number>>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

export class Child {
  /** Of the process, which is also that of its group. undefined: it could not be started. */
  readonly pid: number | undefined;
  /** Never rejects. By then the whole group is gone. */
  readonly ended: Promise<Ended>;

  constructor(command: Command, options: { readonly cwd: string; readonly pidFile: string; readonly log: LogFile; readonly clock: Clock }) {
    const { log, clock } = options;
    const child = spawn('/bin/sh', ['-c', LAUNCHER, options.pidFile, command.file, ...command.args], {
      cwd: options.cwd,
      env: command.env,
      detached: true, // a group of its own: what the runner started ends with it
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.pid = child.pid;
    child.stdout.on('data', (chunk: Buffer) => log.write(chunk));
    child.stderr.on('data', (chunk: Buffer) => log.write(chunk));
    const exited = new Promise<Ended>((resolve) => {
      child.once('exit', (code, signal) => resolve({ exitCode: code ?? 128 + (SIGNAL_NUMBERS[signal ?? 'SIGKILL'] ?? 0), signal }));
      child.once('error', (error) => {
        log.write(Buffer.from(`cannot start ${command.file}: ${error.message}\n`));
        resolve({ exitCode: 127, signal: null });
      });
    });
    const closed = new Promise<void>((resolve) => {
      child.once('close', () => resolve());
      child.once('error', () => resolve());
    });
    this.ended = exited.then(async (ended) => {
      this.kill();
      const enough = new AbortController();
      await Promise.race([closed, clock.sleep(LAST_WORDS_MS, enough.signal).catch(() => {})]); // rejects only when cancelled here
      enough.abort();
      child.stdout.destroy();
      child.stderr.destroy();
      return ended;
    });
  }

  /** Asks the process alone to end, as a kubelet asks process 1: it is the one that knows what to save. */
  terminate(): void {
    signalIfThere(this.pid, 'SIGTERM');
  }

  /** Ends the process and all of its group. */
  kill(): void {
    signalIfThere(this.pid === undefined ? undefined : -this.pid, 'SIGKILL');
  }
}

export function signalIfThere(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, signal);
  } catch (thrown) {
    // ESRCH: it is gone, which is what was wanted. EPERM: a group of which only dead members are left, on some systems.
    const code = codeOf(thrown);
    if (code !== 'ESRCH' && code !== 'EPERM') throw thrown;
  }
}
