/** Files by which an agent knows who it is, in the folder that all its conversations share. */

import { readSync, statSync } from 'node:fs';
import { asText, JailError, type PathJail } from '@dovecote/proto';
import { toError } from '../lifecycle/exit.ts';
import type { Log } from '../lifecycle/log.ts';

const NAMES = ['IDENTITY.md', 'SOUL.md', 'MEMORY.md'] as const;
/** What of one file stands in the prompt, bytes. */
const FILE_BYTES = 20_000;

export interface HomeFile {
  readonly name: string;
  /** undefined: it is there, and cannot be read */
  readonly text: string | undefined;
  /** bytes that were left out */
  readonly leftOut: number;
}

interface Known {
  readonly stamp: string;
  readonly file: HomeFile;
}

/** Reads them anew only when they changed. */
export class HomeFiles {
  readonly #jail: PathJail;
  readonly #alias: string;
  readonly #log: Log;
  readonly #known = new Map<string, Known>();
  /** Names that were not there when the folder was last changed: most agents have none, and each turn looks. */
  #missing = new Set<string>();
  #folder = '';

  constructor(jail: PathJail, alias: string, log: Log) {
    this.#jail = jail;
    this.#alias = alias;
    this.#log = log;
  }

  /** Those that are there, in a fixed order. */
  read(): readonly HomeFile[] {
    const stat = statSync(this.#jail.realPath(this.#alias), { throwIfNoEntry: false });
    const folder = `${stat?.ino} ${stat?.mtimeMs}`;
    if (folder !== this.#folder) this.#missing = new Set();
    this.#folder = folder;
    return NAMES.flatMap((name) => (this.#missing.has(name) ? [] : (this.#read(name) ?? [])));
  }

  #read(name: string): HomeFile | undefined {
    const path = `${this.#alias}/${name}`;
    let stamp = '';
    try {
      const stat = this.#jail.stat(path);
      stamp = `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
      const known = this.#known.get(name);
      if (known?.stamp === stamp) return known.file;
      return this.#keep(
        name,
        stamp,
        this.#jail.withFile(path, (fd, { size }) => textOf(fd, size)),
      );
    } catch (e) {
      if (e instanceof JailError && e.reason === 'NotFound') {
        this.#missing.add(name);
        return undefined;
      }
      if (this.#known.get(name)?.stamp !== stamp)
        this.#log.warn({ err: toError(e), path }, 'a file of the agent cannot be read for its prompt');
      return this.#keep(name, stamp, { text: undefined, leftOut: 0 });
    }
  }

  #keep(name: string, stamp: string, read: Omit<HomeFile, 'name'>): HomeFile {
    const file = { name, ...read };
    this.#known.set(name, { stamp, file });
    return file;
  }
}

function textOf(fd: number, size: number): Omit<HomeFile, 'name'> {
  const bytes = Buffer.alloc(Math.min(size, FILE_BYTES));
  const read = readSync(fd, bytes, 0, bytes.length, 0);
  // The cut may fall inside a character: it goes with what is left out.
  for (let end = read; end > Math.max(0, read - 4); end -= 1) {
    const text = asText(bytes.subarray(0, end));
    if (text !== undefined) return { text: text.trim(), leftOut: Math.max(0, size - end) };
    if (size <= FILE_BYTES) break;
  }
  if (read === 0) return { text: '', leftOut: 0 };
  throw new JailError('Invalid', 'it is a binary file');
}
