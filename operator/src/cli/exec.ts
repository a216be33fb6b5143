/** `dovecote exec`: a command in the Pod of an awake session, with this terminal as its own. */
import { constants } from 'node:os';
import { containerService as proto } from '@dovecote/proto';
import { CommandError } from './api-client.ts';
import { SessionStream } from './session-stream.ts';

export interface Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

export interface ExecOptions {
  readonly server: { readonly url: string; readonly token: string };
  readonly session: string;
  readonly start: proto.ExecStart;
  readonly terminal: Terminal;
  readonly sleep: (ms: number) => Promise<void>;
  /** ends it, and what it runs unless that is detached */
  readonly signal: AbortSignal;
}

/** The exit code for the shell: the command's, or 128 and the number of its signal. Rejects with CommandError. */
export async function execInSession({ server, session, start, terminal, sleep, signal }: ExecOptions): Promise<number> {
  const { stdin, stdout, stderr } = terminal;
  let exit: proto.ExecExit | undefined;
  const onMessage = (message: Uint8Array): void => {
    const { part } = proto.ExecResponse.decode(message);
    if (part?.$case === 'stdout') stdout.write(part.value);
    else if (part?.$case === 'stderr') stderr.write(part.value);
    else if (part?.$case === 'jobId' && start.detach) stderr.write(`job ${part.value}\n`);
    else if (part?.$case === 'droppedBytes') stderr.write(`(${part.value} bytes of earlier output are no longer kept)\n`);
    else if (part?.$case === 'exit') exit = part.value;
  };
  const stream = new SessionStream(server, `/api/sessions/${encodeURIComponent(session)}/exec`, { onMessage, sleep });
  const say = (part: NonNullable<proto.ExecRequest['part']>): Promise<void> => stream.send(proto.ExecRequest.encode({ part }).finish());
  const resize = (): void => void say({ $case: 'resize', value: { columns: stdout.columns, rows: stdout.rows } }).catch(() => {}); // it is over
  const feed = async (): Promise<void> => {
    await say({ $case: 'start', value: start });
    if (start.tty && stdout.isTTY) resize();
    for await (const chunk of stdin) await say({ $case: 'stdin', value: Buffer.from(chunk as Buffer) });
    await say({ $case: 'stdinEof', value: true });
  };
  const raw = start.tty && stdin.isTTY;
  const leave = (): void => stream.close();
  signal.addEventListener('abort', leave, { once: true });
  if (raw) stdin.setRawMode(true);
  if (start.tty) stdout.on('resize', resize);
  try {
    void feed().catch(() => {}); // it is over, which `ended` tells
    await stream.ended;
  } finally {
    if (raw) stdin.setRawMode(false);
    stdout.off('resize', resize);
    signal.removeEventListener('abort', leave);
    stdin.destroy(); // else this process would wait for a line that nobody reads
  }
  if (exit === undefined) {
    if (signal.aborted) return 130;
    throw new CommandError('the connection ended before the command did');
  }
  if (exit.timedOut) stderr.write('the command was ended: its time was over\n');
  return exit.signal === '' ? exit.code : 128 + (constants.signals[exit.signal as NodeJS.Signals] ?? 0);
}
