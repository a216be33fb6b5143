/** How much a folder stores. Asynchronous throughout: a cell with a million files must not keep a message waiting. */
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, opendir } from 'node:fs/promises';

export interface Measured {
  readonly bytes: number;
  /** the walk ended at its limit: it is more than `bytes` */
  readonly partial: boolean;
}

/** No call takes a path of more than 4,096 bytes: an agent that digs deeper would store there what nobody counts. */
const LONG_PATH_BYTES = 2_048;
const SEPARATOR = Buffer.from('/');

/** Bytes on disk, links not followed, at most `maxEntries` looked at. What vanishes meanwhile counts nothing. */
export async function measureFolder(path: string, maxEntries: number, signal: AbortSignal): Promise<Measured> {
  let bytes = 0;
  let left = maxEntries;
  /** Folders still to be looked at, and below those whose path begins anew at it, the open folder that this needs. */
  const waiting: (Buffer | FileHandle)[] = [Buffer.from(path)];
  try {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      signal.throwIfAborted();
      if (!Buffer.isBuffer(next)) {
        await next.close();
        continue;
      }
      try {
        const folder = await shortened(next, waiting);
        // Names are buffers with that encoding, which Node's types do not know: one that is no UTF-8 has bytes like any other.
        for await (const entry of await opendir(folder, { encoding: 'buffer' as BufferEncoding })) {
          if (left <= 0) return { bytes, partial: true };
          left -= 1;
          const child = Buffer.concat([folder, SEPARATOR, entry.name as unknown as Buffer]);
          if (entry.isDirectory()) waiting.push(child);
          else bytes += await bytesOf(child);
        }
      } catch (e) {
        const { code } = e as NodeJS.ErrnoException;
        if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EACCES' && code !== 'ELOOP') throw e;
      }
    }
    return { bytes, partial: false };
  } finally {
    for (const left of waiting) if (!Buffer.isBuffer(left)) await left.close();
  }
}

async function bytesOf(file: Buffer): Promise<number> {
  try {
    return (await lstat(file)).blocks * 512;
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw e;
  }
}

async function shortened(folder: Buffer, waiting: (Buffer | FileHandle)[]): Promise<Buffer> {
  if (folder.length <= LONG_PATH_BYTES || process.platform !== 'linux') return folder;
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  waiting.push(handle);
  return Buffer.from(`/proc/self/fd/${handle.fd}`);
}
