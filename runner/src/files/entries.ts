import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import type { PathJail } from './path-jail.ts';

export interface Entry {
  readonly name: string;
  readonly stats: Stats;
}

/** The entries of one folder, sorted by name. Links are listed, not followed; what vanished meanwhile is left out. */
export function listEntries(jail: PathJail, path: string): readonly Entry[] {
  return jail.withFolder(path, (folder) =>
    readdirSync(folder.entry('.'))
      .sort()
      .flatMap((name) => {
        const stats = lstatSync(folder.entry(name), { throwIfNoEntry: false });
        return stats === undefined ? [] : [{ name, stats }];
      }),
  );
}

/** Folders that a search does not enter unless it is told to begin in them. */
const SKIPPED = new Set(['.git', 'node_modules', '.venv', '__pycache__']);

export interface Found {
  /** relative to where the walk began */
  readonly relative: string;
  readonly stats: Stats;
}

/** All regular files below a folder, folder by folder, sorted. Stops at `limit` files. Links and caches are not entered. */
export function* walkFiles(jail: PathJail, path: string, limit: number): Generator<Found> {
  const waiting = [''];
  let count = 0;
  for (let relative = waiting.shift(); relative !== undefined; relative = waiting.shift()) {
    const folders: string[] = [];
    for (const { name, stats } of listEntries(jail, posix.join(path, relative))) {
      const below = posix.join(relative, name);
      if (stats.isDirectory() && !SKIPPED.has(name)) folders.push(below);
      if (!stats.isFile()) continue;
      count += 1;
      if (count > limit) return;
      yield { relative: below, stats };
    }
    waiting.unshift(...folders);
  }
}
