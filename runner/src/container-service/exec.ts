import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import type { PathJail, containerService as proto, TwoWays } from '@dovecote/proto';
import { status } from '@grpc/grpc-js';
import { runCommand } from '../jobs/run-command.ts';
import type { Clock } from '../lifecycle/clock.ts';
import type { Random } from '../lifecycle/random.ts';
import { StatusError } from './status-error.ts';

const DEFAULT_TIMEOUT_MS = 600_000;
const MAX_TIMEOUT_MS = 86_400_000;

export interface ExecDeps {
  readonly files: PathJail;
  readonly clock: Clock;
  readonly random: Random;
  readonly env: Readonly<Record<string, string>>;
}

/**
 * One command for one stream: started by its first message, fed and signalled by the others, ended with the stream.
 * Output waits when the caller does not read. Throws StatusError.
 */
export async function exec({ requests, send, gone }: TwoWays<proto.ExecRequest, proto.ExecResponse>, deps: ExecDeps): Promise<void> {
  const first = await requests.next();
  if (first.done === true || first.value.part?.$case !== 'start')
    throw new StatusError(status.INVALID_ARGUMENT, 'the first message must be `start`');
  const start = first.value.part.value;
  refuseUnsupported(start);
  const cwd = start.workingDirectory === '' ? '.' : start.workingDirectory;
  if (!deps.files.stat(cwd).isDirectory()) throw new StatusError(status.INVALID_ARGUMENT, `${cwd} is not a folder`);
  await send({ part: { $case: 'jobId', value: deps.random.id(16) } });
  try {
    const end = await runCommand(start.command, {
      cwd: deps.files.realPath(cwd),
      env: { ...deps.env, ...start.env },
      timeoutMs: Math.min(start.timeoutMs > 0 ? start.timeoutMs : DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS),
      clock: deps.clock,
      random: deps.random,
      signal: gone,
      onOutput: (stream, data) => void send({ part: { $case: stream, value: data } }).catch(() => {}),
      onStart: (child) => void feed(child, requests).catch(() => {}),
    });
    await send({ part: { $case: 'exit', value: { code: end.code ?? -1, signal: end.signal ?? '', timedOut: end.timedOut } } });
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'EACCES') throw new StatusError(status.NOT_FOUND, `cannot run ${start.command[0]}: ${code}`);
    if (gone.aborted) throw new StatusError(status.CANCELLED, 'the command was ended with its stream');
    throw e;
  }
}

function refuseUnsupported(start: proto.ExecStart): void {
  if (start.command.length === 0 && start.jobId === '') throw new StatusError(status.INVALID_ARGUMENT, 'the command is empty');
  for (const [name, asked] of Object.entries({ tty: start.tty, job_id: start.jobId !== '', detach: start.detach })) {
    if (asked) throw new StatusError(status.UNIMPLEMENTED, `${name} comes later`);
  }
}

async function feed(child: ChildProcess, requests: AsyncIterator<proto.ExecRequest>): Promise<void> {
  for (let next = await requests.next(); next.done !== true; next = await requests.next()) {
    const part = next.value.part;
    if (part?.$case === 'stdin' && child.stdin?.write(part.value) === false) await drained(child);
    else if (part?.$case === 'stdinEof') child.stdin?.end();
    else if (part?.$case === 'signal') signalGroup(child, part.value);
  }
  child.stdin?.end();
}

function drained(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.stdin?.once('drain', resolve);
    child.stdin?.once('close', resolve);
  });
}

function signalGroup(child: ChildProcess, number: number): void {
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  if (name === undefined || child.pid === undefined) return;
  try {
    process.kill(-child.pid, name as NodeJS.Signals);
  } catch {
    // ESRCH: it has ended
  }
}
