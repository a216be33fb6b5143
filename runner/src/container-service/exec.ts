import { constants } from 'node:os';
import type { PathJail, containerService as proto, TwoWays } from '@dovecote/proto';
import { status } from '@grpc/grpc-js';
import type { Job } from '../jobs/job.ts';
import { type Jobs, TooManyJobsError } from '../jobs/jobs.ts';
import { DEFAULT_SIZE, NoTerminalsError } from '../jobs/terminal.ts';
import { StatusError } from './status-error.ts';

const DEFAULT_TIMEOUT_MS = 600_000;
const MAX_TIMEOUT_MS = 86_400_000;
/** Of a command line, as Linux limits a whole one by default. */
const MAX_COMMAND_BYTES = 2 * 1024 * 1024;

export interface ExecDeps {
  readonly files: PathJail;
  /** those of callers; the model's are others, so that neither takes the places of the other */
  readonly jobs: Jobs;
  readonly env: () => Readonly<Record<string, string>>;
}

/**
 * One command, seen by one stream: started, or found again, by its first message, fed and signalled by the others. It ends with the
 * stream unless it was detached. A caller that reads slowly holds the command up, as a full pipe would. Throws StatusError, JailError.
 */
export async function exec(ways: TwoWays<proto.ExecRequest, proto.ExecResponse>, deps: ExecDeps): Promise<void> {
  const first = await ways.requests.next();
  if (first.done === true || first.value.part?.$case !== 'start')
    throw new StatusError(status.INVALID_ARGUMENT, 'the first message must be `start`');
  const start = first.value.part.value;
  if (start.receivedBytes < 0) throw new StatusError(status.INVALID_ARGUMENT, 'received_bytes must not be negative');
  const job = start.jobId === '' ? await begin(start, deps) : find(start.jobId, deps.jobs);
  const endsWithStream = start.jobId === '' && !start.detach;
  try {
    await ways.send({ part: { $case: 'jobId', value: job.id } });
    void feed(job, ways, endsWithStream).catch(() => {}); // it ends with the stream, whose end is told below
    await show(job, start.jobId === '' ? 0 : start.receivedBytes, ways);
    const { code, signal, timedOut } = await job.over;
    await ways.send({ part: { $case: 'exit', value: { code: code ?? -1, signal: signal ?? '', timedOut } } });
  } finally {
    if (endsWithStream) job.stop();
  }
}

async function begin(start: proto.ExecStart, { files, jobs, env }: ExecDeps): Promise<Job> {
  const refuse = (message: string): StatusError => new StatusError(status.INVALID_ARGUMENT, message);
  const words = [...start.command, ...Object.entries(start.env).flat()];
  if (start.command.length === 0 || start.command[0] === '') throw refuse('the command is empty');
  if (words.some((word) => word.includes('\0'))) throw refuse('neither the command nor its environment may contain a NUL character');
  if (Object.keys(start.env).some((name) => name === '' || name.includes('='))) throw refuse('a variable needs a name without `=`');
  if (words.reduce((sum, word) => sum + Buffer.byteLength(word), 0) > MAX_COMMAND_BYTES) throw refuse('the command is too long');
  const cwd = start.workingDirectory === '' ? '.' : start.workingDirectory;
  if (!files.stat(cwd).isDirectory()) throw refuse(`${cwd} is not a folder`);
  try {
    return await jobs.start({
      command: start.command,
      title: start.command.join(' '),
      cwd: files.realPath(cwd),
      env: { ...env(), ...start.env },
      timeoutMs: Math.min(start.timeoutMs > 0 ? start.timeoutMs : DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS),
      ...(start.tty && { terminal: DEFAULT_SIZE }),
    });
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    if (code === 'E2BIG') throw refuse('the command is too long');
    if (typeof code === 'string') throw new StatusError(status.NOT_FOUND, `cannot run ${start.command[0]?.slice(0, 200)}: ${code}`);
    if (e instanceof TooManyJobsError) throw new StatusError(status.RESOURCE_EXHAUSTED, e.message);
    if (e instanceof NoTerminalsError) throw new StatusError(status.FAILED_PRECONDITION, e.message);
    throw e;
  }
}

function find(id: string, jobs: Jobs): Job {
  const job = jobs.get(id);
  if (job !== undefined) return job;
  throw new StatusError(
    status.NOT_FOUND,
    jobs.isOfEarlierProcess(id)
      ? `job ${id} has ended with the process that ran it: the session slept or was restarted since`
      : `there is no job ${id}: it never was, or it ended long ago`,
  );
}

async function show(job: Job, from: number, { gone, send }: TwoWays<proto.ExecRequest, proto.ExecResponse>): Promise<void> {
  let next = from;
  for await (const { stream, data, at } of job.follow(from, gone, true)) {
    if (at > next) await send({ part: { $case: 'droppedBytes', value: at - next } });
    await send({ part: { $case: stream, value: data } });
    next = at + data.length;
  }
}

async function feed(job: Job, { requests }: TwoWays<proto.ExecRequest, proto.ExecResponse>, endsWithStream: boolean): Promise<void> {
  for (let next = await requests.next(); next.done !== true; next = await requests.next()) {
    const { part } = next.value;
    if (part?.$case === 'stdin') await write(job, Buffer.from(part.value));
    else if (part?.$case === 'stdinEof') job.process.endInput();
    else if (part?.$case === 'resize') job.process.resize(part.value);
    else if (part?.$case === 'signal') sendSignal(job, part.value);
  }
  // One that is detached may be fed by the next who attaches.
  if (endsWithStream) job.process.endInput();
}

/** Resolves when the command can take more, or will never again. */
async function write({ process: { stdin } }: Job, data: Buffer): Promise<void> {
  if (!stdin.writable || stdin.write(data)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      stdin.off('drain', done);
      stdin.off('close', done);
      resolve();
    };
    stdin.on('drain', done);
    stdin.on('close', done);
  });
}

/** One that this system does not know is passed over. */
function sendSignal(job: Job, number: number): void {
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  if (name !== undefined) job.signal(name as NodeJS.Signals);
}
