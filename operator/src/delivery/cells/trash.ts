/** Deletion is a rename first and a removal after the retention: what was a mistake can be taken back until then. */
import { readdirSync, renameSync } from 'node:fs';
import { chmod, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PathJail, remove } from '@dovecote/proto';
import type { Cells } from './cells.ts';
import { makeFolder, syncFolder } from './durable.ts';

/** Takes the cell out of `cells/`. Only for a session whose Pod is confirmed gone. `now`: ms since 1970. */
export function trashCell(cells: Cells, session: string, now: number): void {
  cells.release(session);
  const trash = join(cells.root, 'trash');
  makeFolder(trash);
  renameSync(join(cells.root, 'cells', session), join(trash, `${now}-${session}`));
  syncFolder(trash);
  syncFolder(join(cells.root, 'cells'));
}

/** Removes what has lain in the trash for longer than `retentionMs`. How many. One that cannot be removed keeps none of the others; it rejects at the end. */
export async function emptyTrash(root: string, now: number, retentionMs: number, signal: AbortSignal): Promise<number> {
  let names: string[];
  try {
    names = readdirSync(join(root, 'trash'));
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw e;
  }
  let removed = 0;
  let failure: unknown;
  for (const name of names) {
    const at = Number(/^([0-9]+)-/.exec(name)?.[1]);
    if (!(now - at > retentionMs)) continue; // also NaN: what we did not put there we do not remove
    signal.throwIfAborted();
    try {
      await removeTree(join(root, 'trash'), name);
      removed += 1;
    } catch (e) {
      failure ??= e;
    }
  }
  if (failure !== undefined) throw new Error('cannot remove all that is old in the trash', { cause: failure });
  return removed;
}

/** Agents made these folders: some are closed to everybody, some so deep that their path is too long for any call. */
async function removeTree(trash: string, name: string): Promise<void> {
  try {
    await rm(join(trash, name), { recursive: true, force: true });
  } catch {
    await openUp(join(trash, name)).catch(() => {}); // as far as it can be: what it could not reach, the next call says
    await remove(new PathJail([{ alias: '/trash', dir: trash, writable: true }]), `/trash/${name}`, true);
  }
}

/** Follows no link. */
async function openUp(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true })) if (entry.isDirectory()) await openUp(join(folder, entry.name));
}
