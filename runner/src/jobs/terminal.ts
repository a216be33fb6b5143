import { accessSync, closeSync, constants as files, openSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import { ReadStream } from 'node:tty';
import type { CommandProcess, ProcessStart, TerminalSize } from './command-process.ts';
import type { CommandEnd } from './run-command.ts';

/**
 * The native half of @lydell/node-pty, whose version is pinned: its other half closes the terminal 200 ms after the command's end,
 * and with it goes what a slow reader has not yet taken.
 */
interface NativePty {
  fork(
    file: string,
    args: readonly string[],
    env: readonly string[],
    cwd: string,
    columns: number,
    rows: number,
    uid: number,
    gid: number,
    utf8: boolean,
    helper: string,
    onExit: (code: number, signal: number) => void,
  ): { readonly fd: number; readonly pid: number; readonly pty: string };
  resize(fd: number, columns: number, rows: number): void;
}

/** This machine, or this image, has no terminals. */
export class NoTerminalsError extends Error {
  override readonly name = 'NoTerminalsError';
}

const END_OF_INPUT = '\x04';
const SAME_USER = -1;
const MAX_SIZE = 10_000;
export const DEFAULT_SIZE: TerminalSize = { columns: 80, rows: 24 };

/** Its output is all stdout, as a terminal mixes it. Throws NoTerminalsError, or ENOENT and the like for the command. */
export function spawnInTerminal(command: readonly string[], size: TerminalSize, start: ProcessStart): CommandProcess {
  const native = loadNative();
  const [file = '', ...args] = command;
  const env: Record<string, string> = { TERM: 'xterm-256color', ...start.env };
  const program = findProgram(file, env['PATH'] ?? '', start.cwd);
  const ended = Promise.withResolvers<Omit<CommandEnd, 'timedOut'>>();
  const { fd, pid, pty } = native.fork(
    program,
    args,
    Object.entries(env).map(([name, value]) => `${name}=${value}`),
    start.cwd,
    within(size.columns),
    within(size.rows),
    SAME_USER,
    SAME_USER,
    true,
    '',
    (code, signal) => {
      closeSync(held);
      ended.resolve({ code: signal === 0 ? code : null, signal: signalName(signal) });
    },
  );
  // A command closes its terminal a moment before it ends. Were that the terminal's end, ours would be closed too, and the command
  // ended by SIGHUP in that moment.
  const held = openSync(pty, files.O_RDWR | files.O_NOCTTY);
  const terminal = new ReadStream(fd);
  const drained = Promise.withResolvers<void>();
  let released = false;
  terminal.on('data', (data: Buffer) => start.onOutput('stdout', data));
  // EIO: the last that had it open has closed it, which is a terminal's end of file.
  terminal.on('error', () => terminal.destroy());
  terminal.on('close', () => {
    released = true;
    drained.resolve();
  });
  return {
    pid,
    stdin: terminal,
    ended: ended.promise,
    drained: drained.promise,
    get paused() {
      return terminal.isPaused();
    },
    pause: () => void terminal.pause(),
    resume: () => void terminal.resume(),
    endInput: () => {
      if (!released) terminal.write(END_OF_INPUT);
    },
    resize: ({ columns, rows }) => {
      if (!released) native.resize(fd, within(columns), within(rows));
    },
    release: () => void terminal.destroy(),
  };
}

function loadNative(): NativePty {
  try {
    return createRequire(import.meta.url)(`@lydell/node-pty-${process.platform}-${process.arch}/pty.node`) as NativePty;
  } catch (e) {
    throw new NoTerminalsError('this runner cannot make terminals: run the command without one', { cause: e });
  }
}

/** The child would look for itself, and say only in its own output that there is nothing. */
function findProgram(file: string, path: string, cwd: string): string {
  const candidates = file.includes('/')
    ? [join(file.startsWith('/') ? '/' : cwd, file)]
    : path.split(':').map((folder) => join(folder, file));
  let refused: unknown;
  for (const candidate of candidates) {
    try {
      accessSync(candidate, files.X_OK);
      if (statSync(candidate).isFile()) return candidate;
    } catch (e) {
      refused = e;
    }
  }
  throw Object.assign(new Error(`cannot run ${file}`, { cause: refused }), { code: 'ENOENT' });
}

function within(cells: number): number {
  return Math.min(Math.max(1, Math.trunc(cells)), MAX_SIZE);
}

function signalName(number: number): NodeJS.Signals | null {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found === undefined ? null : (found[0] as NodeJS.Signals);
}
