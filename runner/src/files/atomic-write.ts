import { randomBytes } from 'node:crypto';
import { closeSync, constants, fchmodSync, fsyncSync, lstatSync, openSync, renameSync, type Stats, unlinkSync, writeSync } from 'node:fs';
import { JailError, type PathJail, translate } from './path-jail.ts';

export interface WriteOptions {
  readonly createParents?: boolean;
  /** called with what is there before; throws to refuse */
  readonly check?: (before: Stats | undefined) => void;
  /** permission bits; absent: those of the file before, or 0644 */
  readonly mode?: number;
}

/**
 * Replaces a file's content as a whole: readers see the old or the new, and after a crash one of both is on the disk.
 * The mode is kept. Throws JailError, ENOSPC.
 */
export function writeAtomic(jail: PathJail, path: string, data: Buffer, options: WriteOptions = {}): { readonly created: boolean } {
  return jail.withParent(path, { write: true, createParents: options.createParents === true }, (folder, name, { shown }) => {
    const before = statOrAbsent(folder.entry(name));
    if (before?.isSymbolicLink()) throw new JailError('Link', `${shown} is a link, and links are not followed`);
    if (before !== undefined && !before.isFile()) throw new JailError('NotAFile', `${shown} is not a regular file`);
    options.check?.(before);
    const temporary = folder.entry(`.dovecote-${randomBytes(8).toString('hex')}.tmp`);
    try {
      const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
      try {
        for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
        fchmodSync(fd, options.mode ?? (before === undefined ? 0o644 : before.mode & 0o7777));
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, folder.entry(name));
      fsyncSync(folder.fd); // without it the rename may be undone by a crash of the node
    } catch (e) {
      removeQuietly(temporary);
      throw translate(e, shown);
    }
    return { created: before === undefined };
  });
}

function statOrAbsent(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // it was never made, or was renamed: either way there is nothing to remove
  }
}
