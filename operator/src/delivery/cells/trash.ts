/** Deletion is a rename first and a removal after the retention: what was a mistake can be taken back until then. */
import { readdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
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

/** Removes what has lain in the trash for longer than `retentionMs`. How many. */
export async function emptyTrash(root: string, now: number, retentionMs: number, signal: AbortSignal): Promise<number> {
  let names: string[];
  try {
    names = readdirSync(join(root, 'trash'));
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw e;
  }
  let removed = 0;
  for (const name of names) {
    const at = Number(/^([0-9]+)-/.exec(name)?.[1]);
    if (!(now - at > retentionMs)) continue; // also NaN: what we did not put there we do not remove
    signal.throwIfAborted();
    await rm(join(root, 'trash', name), { recursive: true, force: true });
    removed += 1;
  }
  return removed;
}
