import { isUtf8 } from 'node:buffer';
import { lstatSync, opendirSync, readdirSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import { entryPath, JailError, type OpenFolder, type PathJail } from './path-jail.ts';

export interface Entry {
  readonly name: string;
  readonly stats: Stats;
  /** false: its name is no UTF-8, `name` only resembles it, and it cannot be asked for */
  readonly nameable: boolean;
}

/** The entries of one folder, sorted by name. Links are listed, not followed; what vanished meanwhile is left out. */
export function listEntries(jail: PathJail, path: string): readonly Entry[] {
  return jail.withFolder(path, (folder) => look(folder, readdirSync(folder.entry('.'), { encoding: 'buffer' }).map(named).sort(byName)));
}

/**
 * The first `limit` entries behind the name `after` ('' for all), sorted by name, and whether there are more. Never holds more than
 * a few times `limit` names, and lets others work between parts: a folder may have millions.
 */
export async function pageOfEntries(
  jail: PathJail,
  path: string,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<{ readonly entries: readonly Entry[]; readonly more: boolean }> {
  const folder = jail.openFolder(path);
  try {
    let kept: Named[] = [];
    const keep = 2 * (limit + 1);
    // Node's types know no buffer encoding here, and its names are then buffers.
    const names = opendirSync(folder.entry('.'), { encoding: 'buffer' as BufferEncoding, bufferSize: 1024 });
    for await (const { name } of names) {
      const one = named(name as unknown as Buffer);
      if (after !== '' && !(one.name > after)) continue;
      kept.push(one);
      if (kept.length >= keep) kept = kept.sort(byName).slice(0, limit + 1);
    }
    kept.sort(byName);
    return { entries: look(folder, kept.slice(0, limit)), more: kept.length > limit };
  } finally {
    folder.close();
  }
}

interface Named {
  readonly name: string;
  readonly bytes: Buffer;
}

const named = (bytes: Buffer): Named => ({ name: bytes.toString(), bytes });
const byName = (a: Named, b: Named): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

function look(folder: OpenFolder, names: readonly Named[]): readonly Entry[] {
  return names.flatMap(({ name, bytes }) => {
    const stats = lstatSync(entryPath(folder, bytes), { throwIfNoEntry: false });
    return stats === undefined ? [] : [{ name, stats, nameable: isUtf8(bytes) }];
  });
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
    for (const { name, stats, nameable } of entriesBelow(jail, path, relative)) {
      if (!nameable) continue;
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

/** A folder that vanished since its parent was listed, or became a link, has nothing to find in it. */
function entriesBelow(jail: PathJail, path: string, relative: string): readonly Entry[] {
  try {
    return listEntries(jail, posix.join(path, relative));
  } catch (e) {
    if (relative !== '' && e instanceof JailError) return [];
    throw e;
  }
}
