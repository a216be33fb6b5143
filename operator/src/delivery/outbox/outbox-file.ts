/**
 * Files that the agent hands out: out/outbox/<seq>/<name>. The agent owns those folders and may exchange any of them for a link at any
 * moment, so no path of several components is ever resolved by name: each step is opened from the one before, following no link.
 */
import { closeSync, constants, createReadStream, fstatSync, lstatSync, openSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { OUTBOX } from '@dovecote/proto';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
/** As large as the gateway takes in one message. */
const CHUNK_BYTES = 256 * 1024;
/** Entries of one outbox folder that are cleaned away; a runner of ours makes one. */
const MAX_ENTRIES = 100;

/** The file cannot be sent, now or later. The message reads "the file …". */
export class OutboxFileError extends Error {
  override readonly name = 'OutboxFileError';
}

/** An open file whose bytes cannot be exchanged any more, only changed. */
export interface OutboxFile {
  readonly sizeBytes: number;
  /** To be used once; closes the file at its end. Throws OutboxFileError when the file has become shorter. */
  chunks(): AsyncIterable<Buffer>;
  /** Closes it unread. Does nothing after `chunks`. */
  close(): void;
}

/** `path` is what the row says. Throws OutboxFileError, or the file system's error when it is our own shortage. */
export function openOutboxFile(out: string, seq: number, path: string, maxBytes: number): OutboxFile {
  const [outbox, folder, name, ...rest] = path.split('/');
  if (outbox !== OUTBOX || folder !== String(seq) || name === undefined || !isPlainName(name) || rest.length > 0)
    throw new OutboxFileError(`the file is not in ${OUTBOX}/${seq}`);
  const fd = inFolder(out, seq, (at) => {
    // O_NONBLOCK: the open of a pipe that nobody writes to would stop all of delivery.
    const opened = openSync(at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const stat = fstatSync(opened);
      if (!stat.isFile()) throw new OutboxFileError('the file is not a regular file');
      if (stat.size > maxBytes)
        throw new OutboxFileError(`the file has ${stat.size} bytes, which is more than the ${maxBytes} that may be sent`);
      return { opened, sizeBytes: stat.size };
    } catch (e) {
      closeSync(opened);
      throw e;
    }
  });
  let used = false;
  return {
    sizeBytes: fd.sizeBytes,
    chunks: () => {
      used = true;
      return read(fd.opened, fd.sizeBytes);
    },
    close: () => {
      if (!used) closeSync(fd.opened);
      used = true;
    },
  };
}

/** Removes what was sent. What cannot be removed safely stays: the folder is the agent's. */
export function removeOutboxFolder(out: string, seq: number): void {
  try {
    inFolder(out, seq, (at) => {
      for (const name of readdirSync(at('.')).slice(0, MAX_ENTRIES)) {
        try {
          unlinkSync(at(name)); // removes a link itself, never what it leads to
        } catch {
          // a folder, or gone already
        }
      }
    });
    withFolder(join(out, OUTBOX), (at) => rmdirSync(at(String(seq))));
  } catch {
    // Not there, or not a plain folder: nothing of ours is lost.
  }
}

/** Seqs for which the outbox has a folder, at most `max`. */
export function listOutboxFolders(out: string, max: number): number[] {
  try {
    return withFolder(join(out, OUTBOX), (at) => readdirSync(at('.')))
      .filter((name) => /^[1-9][0-9]{0,15}$/.test(name))
      .slice(0, max)
      .map(Number);
  } catch {
    return [];
  }
}

type At = (name: string) => string;

function inFolder<T>(out: string, seq: number, use: (at: At) => T): T {
  try {
    return withFolder(join(out, OUTBOX), (outbox) => withFolder(outbox(String(seq)), use));
  } catch (e) {
    throw translate(e);
  }
}

/** `out` itself is the host's; the last component is the agent's. */
function withFolder<T>(path: string, use: (at: At) => T): T {
  const fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    // Only Linux opens relative to a descriptor by name. Elsewhere (a developer's laptop) the path is resolved again for each step.
    if (process.platform === 'linux') return use((name) => `/proc/self/fd/${fd}/${name}`);
    if (!lstatSync(path).isDirectory()) throw new OutboxFileError('the file is behind a link');
    return use((name) => join(path, name));
  } finally {
    closeSync(fd);
  }
}

async function* read(fd: number, sizeBytes: number): AsyncIterable<Buffer> {
  if (sizeBytes === 0) {
    closeSync(fd);
    return;
  }
  let left = sizeBytes;
  for await (const chunk of createReadStream('', {
    fd,
    start: 0,
    end: sizeBytes - 1,
    highWaterMark: CHUNK_BYTES,
  }) as AsyncIterable<Buffer>) {
    left -= chunk.length;
    yield chunk;
  }
  if (left > 0) throw new OutboxFileError('the file became shorter while it was sent');
}

function isPlainName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !name.includes('\0') && Buffer.byteLength(name) <= 255;
}

function translate(thrown: unknown): unknown {
  switch ((thrown as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return new OutboxFileError('the file is not there', { cause: thrown });
    case 'ELOOP':
    case 'ENOTDIR':
    case 'ENXIO':
      return new OutboxFileError('the file is a link, or behind one', { cause: thrown });
    case 'EACCES':
    case 'EPERM':
      return new OutboxFileError('the file may not be read', { cause: thrown });
    default:
      return thrown;
  }
}
