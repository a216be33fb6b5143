import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  type Stats,
  unlinkSync,
  write,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { JailError, type OpenParent, type PathJail, translate } from './path-jail.ts';
import { syncLater } from './sync.ts';

export interface WriteOptions {
  readonly createParents?: boolean;
  /** called with what is there before; throws to refuse */
  readonly check?: (before: Stats | undefined) => void;
  /** permission bits; absent: those of the file before, or 0644 */
  readonly mode?: number;
}

export interface Written {
  readonly created: boolean;
  /** of the file as it is now */
  readonly stats: Stats;
}

/** A program must not become another user by what somebody wrote for it. */
const MODE_BITS = 0o777;
const writeLater = promisify(write);
/** Names of files on their way. */
export const TEMPORARY = /^\.dovecote-[0-9a-f]{16}\.tmp$/;

/**
 * Replaces a file's content as a whole: readers see the old or the new, and after a crash one of both is on the disk.
 * The mode is kept. Throws JailError, ENOSPC.
 */
export function writeAtomic(jail: PathJail, path: string, data: Buffer, options: WriteOptions = {}): Written {
  const file = AtomicFile.begin(jail, path, options);
  try {
    file.write(data);
    return file.commit();
  } finally {
    file.close();
  }
}

/**
 * A file on its way to replace another, whose parts come one by one: begin, append…, commitLater, and close in any case, which
 * removes what was not committed. A process that is killed in between leaves the old file, and a temporary one beside it that
 * `removeLeftovers` finds.
 */
export class AtomicFile {
  readonly #at: OpenParent;
  readonly #options: WriteOptions;
  readonly #temporary: string;
  readonly #fd: number;
  #renamed = false;

  private constructor(at: OpenParent, options: WriteOptions) {
    this.#at = at;
    this.#options = options;
    this.#temporary = at.folder.entry(`.dovecote-${randomBytes(8).toString('hex')}.tmp`);
    this.#before(); // refused before anything is written
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    this.#fd = this.#attempt(() => openSync(this.#temporary, flags, 0o600));
  }

  /** Throws JailError, what `check` throws, ENOSPC. */
  static begin(jail: PathJail, path: string, options: WriteOptions = {}): AtomicFile {
    const at = jail.openParent(path, { write: true, createParents: options.createParents === true });
    try {
      return new AtomicFile(at, options);
    } catch (e) {
      at.folder.close();
      throw e;
    }
  }

  /** Throws ENOSPC. */
  write(data: Buffer): void {
    for (let at = 0; at < data.length; ) at += this.#attempt(() => writeSync(this.#fd, data, at));
  }

  /** The same without holding up the process. */
  async append(data: Buffer): Promise<void> {
    for (let at = 0; at < data.length; ) at += (await writeLater(this.#fd, data, at)).bytesWritten;
  }

  /** Puts it in place, durably. Throws what `check` throws: the file may have changed since. */
  commit(): Written {
    this.#attempt(() => fsyncSync(this.#fd));
    const written = this.#rename();
    fsyncSync(this.#at.folder.fd); // without it the rename may be undone by a crash of the node
    return written;
  }

  /** The same without holding up the process while the disk works. */
  async commitLater(): Promise<Written> {
    await syncLater(this.#fd);
    const written = this.#rename();
    await syncLater(this.#at.folder.fd);
    return written;
  }

  close(): void {
    closeSync(this.#fd);
    if (!this.#renamed) removeQuietly(this.#temporary);
    this.#at.folder.close();
  }

  /** Looks, checks and renames in one go: nothing else of this process comes between. */
  #rename(): Written {
    return this.#attempt(() => {
      const before = this.#before();
      fchmodSync(this.#fd, this.#options.mode === undefined ? modeAfter(before) : this.#options.mode & MODE_BITS);
      renameSync(this.#temporary, this.#at.folder.entry(this.#at.name));
      this.#renamed = true;
      return { created: before === undefined, stats: fstatSync(this.#fd) };
    });
  }

  #before(): Stats | undefined {
    const { folder, name, resolved } = this.#at;
    const before = this.#attempt(() => lstatSync(folder.entry(name), { throwIfNoEntry: false }));
    if (before?.isSymbolicLink()) throw new JailError('Link', `${resolved.shown} is a link, and links are not followed`);
    if (before?.isDirectory()) throw new JailError('NotAFile', `${resolved.shown} is a folder`);
    if (before !== undefined && !before.isFile()) throw new JailError('NotAFile', `${resolved.shown} is not a regular file`);
    this.#options.check?.(before);
    return before;
  }

  #attempt<T>(work: () => T): T {
    try {
      return work();
    } catch (e) {
      throw translate(e, this.#at.resolved.shown);
    }
  }
}

function modeAfter(before: Stats | undefined): number {
  return before === undefined ? 0o644 : before.mode & 0o7777;
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // somebody else removed it: there is nothing left to remove
  }
}
