import { unlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { TEMPORARY } from './atomic-write.ts';
import { walkFiles } from './entries.ts';
import { JailError, type PathJail } from './path-jail.ts';

/** Younger ones may be somebody's who is still writing: the home of an agent is shared by its sessions. */
const OLD_MS = 3_600_000;
const MAX_FILES = 100_000;

/**
 * Removes what writers left behind that were killed in the middle of a write, below one folder. Lets others work meanwhile. Answers with
 * how many there were; resolves early when the signal aborts. `now`: ms.
 */
export async function removeLeftovers(jail: PathJail, path: string, now: number, signal: AbortSignal): Promise<number> {
  let removed = 0;
  let seen = 0;
  for (const { relative, stats } of walkFiles(jail, path, MAX_FILES)) {
    seen += 1;
    if (seen % 256 === 0) await nextTurn();
    if (signal.aborted) break;
    if (!TEMPORARY.test(posix.basename(relative)) || now - stats.mtimeMs < OLD_MS) continue;
    try {
      jail.withParent(posix.join(path, relative), { write: true }, (folder, name) => unlinkSync(folder.entry(name)));
      removed += 1;
    } catch (e) {
      // Somebody was faster, or made it a link: nothing of ours is left there.
      if (!(e instanceof JailError) && (e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
    }
  }
  return removed;
}
