import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import type { CommandEnd } from './run-command.ts';

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export interface ProcessStart {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly onOutput: (stream: 'stdout' | 'stderr', data: Buffer) => void;
}

/** A command as whoever runs it sees it: with pipes, or with a terminal. Leader of a process group, and of a session, of its own. */
export interface CommandProcess {
  /** undefined: it could not be started, and `ended` rejects */
  readonly pid: number | undefined;
  readonly stdin: Writable;
  readonly ended: Promise<Omit<CommandEnd, 'timedOut'>>;
  /** all output was handed over */
  readonly drained: Promise<void>;
  /** whether output waits */
  readonly paused: boolean;
  /** Output waits in the pipe; a command that goes on writing is then held up. */
  pause(): void;
  resume(): void;
  /** The command's input is at its end. */
  endInput(): void;
  /** Of its terminal, when it has one. */
  resize(size: TerminalSize): void;
  /** Lets go of its pipes, whatever is still in them. */
  release(): void;
}

export function spawnWithPipes(command: readonly string[], start: ProcessStart): CommandProcess {
  const [file = '', ...args] = command;
  const child = spawn(file, args, { cwd: start.cwd, env: start.env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  const { stdin, stdout, stderr } = child;
  const ended = Promise.withResolvers<Omit<CommandEnd, 'timedOut'>>();
  const drained = Promise.withResolvers<void>();
  child.on('error', (error) => ended.reject(error)); // never started
  child.on('exit', (code, signal) => ended.resolve({ code, signal }));
  child.on('close', () => drained.resolve());
  stdout.on('data', (data: Buffer) => start.onOutput('stdout', data));
  stderr.on('data', (data: Buffer) => start.onOutput('stderr', data));
  stdin.on('error', () => {}); // the command closed its input: its own business
  return {
    pid: child.pid,
    stdin,
    ended: ended.promise,
    drained: drained.promise,
    get paused() {
      return stdout.isPaused();
    },
    pause: () => {
      stdout.pause();
      stderr.pause();
    },
    resume: () => {
      stdout.resume();
      stderr.resume();
    },
    endInput: () => void stdin.end(),
    resize: () => {},
    release: () => {
      for (const stream of [stdin, stdout, stderr]) stream.destroy();
    },
  };
}
