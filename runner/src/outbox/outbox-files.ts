import { randomBytes } from 'node:crypto';
import { closeSync, constants, fsyncSync, mkdirSync, openSync, readdirSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { PathJail } from '@dovecote/proto';
import { OUTBOX, TooLargeError } from '@dovecote/proto';

/** The largest file that is sent. */
export const MAX_FILE_BYTES = 25 * 1024 * 1024;
const CHUNK = 256 * 1024;
const STAGING = '.staging';

export interface StagedFile {
  readonly sizeBytes: number;
  /** Moves it to its row's folder and says its path below the cell's out folder. Called inside the row's transaction. */
  place(seq: number): string;
}

/** Files on their way out: copied and synced first, moved below their row's seq in the transaction that writes the row. */
export class OutboxFiles {
  readonly #out: string;

  constructor(out: string) {
    this.#out = out;
    // What a killed predecessor staged and never sent.
    rmSync(join(out, OUTBOX, STAGING), { recursive: true, force: true });
  }

  /** Copies the file as it is now. Throws JailError, TooLargeError, ENOSPC. */
  stage(jail: PathJail, path: string, name: string): StagedFile {
    return jail.withFile(path, (source, stats, { shown }) => {
      if (stats.size > MAX_FILE_BYTES)
        throw new TooLargeError(`${shown} has ${stats.size} bytes; files of up to ${MAX_FILE_BYTES} bytes can be sent`);
      const folder = join(this.#out, OUTBOX, STAGING, randomBytes(8).toString('hex'));
      mkdirSync(folder, { recursive: true });
      try {
        const sizeBytes = copy(source, join(folder, name), shown);
        syncFolder(folder);
        return { sizeBytes, place: (seq) => this.#place(folder, seq, name) };
      } catch (e) {
        rmSync(folder, { recursive: true, force: true });
        throw e;
      }
    });
  }

  #place(folder: string, seq: number, name: string): string {
    const target = join(this.#out, OUTBOX, String(seq));
    rmSync(target, { recursive: true, force: true }); // a predecessor died between this move and its commit
    renameSync(folder, target);
    syncFolder(join(this.#out, OUTBOX));
    return `${OUTBOX}/${seq}/${name}`;
  }

  /** Names below outbox/, for tests and the sweep. */
  placed(): readonly string[] {
    try {
      return readdirSync(join(this.#out, OUTBOX)).filter((name) => name !== STAGING);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw e;
    }
  }
}

function copy(source: number, target: string, shown: string): number {
  const fd = openSync(target, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o644);
  try {
    const chunk = Buffer.alloc(CHUNK);
    let total = 0;
    for (let read = readSync(source, chunk, 0, CHUNK, 0); read > 0; read = readSync(source, chunk, 0, CHUNK, total)) {
      for (let at = 0; at < read; ) at += writeSync(fd, chunk, at, read - at);
      total += read;
      if (total > MAX_FILE_BYTES) throw new TooLargeError(`${shown} grew beyond ${MAX_FILE_BYTES} bytes while it was copied`);
    }
    fsyncSync(fd);
    return total;
  } finally {
    closeSync(fd);
  }
}

function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
