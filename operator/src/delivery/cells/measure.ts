/** How much a folder stores. Asynchronous throughout: a cell with a million files must not keep a message waiting. */
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

export interface Measured {
  readonly bytes: number;
  /** the walk ended at its limit: it is more than `bytes` */
  readonly partial: boolean;
}

/** Bytes on disk, links not followed, at most `maxEntries` looked at. What vanishes meanwhile counts nothing. */
export async function measureFolder(path: string, maxEntries: number, signal: AbortSignal): Promise<Measured> {
  let bytes = 0;
  let left = maxEntries;
  const folders = [path];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    signal.throwIfAborted();
    try {
      for await (const entry of await opendir(folder)) {
        if (left <= 0) return { bytes, partial: true };
        left -= 1;
        const child = join(folder, entry.name);
        if (entry.isDirectory()) folders.push(child);
        else bytes += (await lstat(child)).blocks * 512;
      }
    } catch (e) {
      const { code } = e as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EACCES') throw e;
    }
  }
  return { bytes, partial: false };
}
