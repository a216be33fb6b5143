import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';

/** Shared by delivery and runner, which have one group; others see nothing. The set-group bit is the volume's business (fsGroup). */
const FOLDER_MODE = 0o770;

/** What was created, renamed or removed in the folder is there after a power cut. */
export function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes the folder and what is missing above it, each durable in its parent. An existing one is left as it is. */
export function makeFolder(path: string): void {
  for (const parent of growFolders('/', [path])) syncFolder(parent);
}

/** Makes several folders below `top`, which exists. They are durable when each of the folders that this returns has been synced. */
export function growFolders(top: string, paths: readonly string[]): ReadonlySet<string> {
  const grown = new Set<string>();
  for (const path of paths) make(path, top, grown);
  return grown;
}

function make(path: string, top: string, grown: Set<string>): void {
  try {
    mkdirSync(path, { mode: FOLDER_MODE });
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || path === top) throw e;
    make(dirname(path), top, grown);
    make(path, top, grown);
    return;
  }
  chmodSync(path, FOLDER_MODE); // mkdir's mode passes through the umask, which may keep the runner out
  grown.add(dirname(path));
}
