import { randomBytes } from 'node:crypto';
import { lstatSync, opendirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { entryPath, JailError, type OpenFolder, openWithin, type PathJail, translate } from './path-jail.ts';
import { syncLater } from './sync.ts';

/** Folders open at once while a tree is removed: one deeper than this is moved up first. */
const MAX_DEPTH = 32;

/**
 * Removes a file, a link (never what it leads to), or a folder, with all in it when `recursive`. Durable when it resolves; one that is
 * interrupted has removed some. Throws JailError: NotFound, Invalid for a folder that is not empty, ReadOnly.
 */
export async function remove(jail: PathJail, path: string, recursive: boolean): Promise<void> {
  const { folder, name, resolved } = jail.openParent(path, { write: true });
  try {
    const stats = attempt(resolved.shown, () => lstatSync(folder.entry(name)));
    if (!stats.isDirectory()) attempt(resolved.shown, () => unlinkSync(folder.entry(name)));
    else {
      if (recursive) await empty(folder, name, resolved.shown);
      attempt(resolved.shown, () => rmdirSync(folder.entry(name)));
    }
    await syncLater(folder.fd);
  } finally {
    folder.close();
  }
}

async function empty(parent: OpenFolder, name: string, shown: string): Promise<void> {
  const top = openWithin(parent, name, shown);
  try {
    // What was too deep lies in the top folder after a pass.
    while (await emptied(top, top, 1, shown));
  } finally {
    top.close();
  }
}

/** Whether something was moved up to `top`, where the next pass finds it. */
async function emptied(top: OpenFolder, folder: OpenFolder, depth: number, shown: string): Promise<boolean> {
  let moved = false;
  const entries = opendirSync(folder.entry('.'), { encoding: 'buffer' as BufferEncoding, bufferSize: 256 });
  for await (const entry of entries) {
    const name = entry.name as unknown as Buffer; // names are buffers with that encoding, which Node's types do not know
    const path = entryPath(folder, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (!stats.isDirectory()) attempt(shown, () => unlinkSync(path));
    else if (depth === MAX_DEPTH) {
      attempt(shown, () => renameSync(path, top.entry(`.dovecote-${randomBytes(8).toString('hex')}.tmp`)));
      moved = true;
    } else {
      const below = openWithin(folder, name, shown);
      try {
        moved = (await emptied(top, below, depth + 1, shown)) || moved;
      } finally {
        below.close();
      }
      attempt(shown, () => rmdirSync(path));
    }
  }
  return moved;
}

function attempt<T>(shown: string, work: () => T): T {
  try {
    return work();
  } catch (e) {
    // The folder was exchanged for something else while it was being emptied.
    if ((e as NodeJS.ErrnoException).code === 'ENOTDIR')
      throw new JailError('Changed', `${shown} changed while it was being removed`, { cause: e });
    throw translate(e, shown);
  }
}
