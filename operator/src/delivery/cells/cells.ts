/**
 * The cells of one shard: where each message of a session is kept. Every other folder of delivery asks here for a session's two
 * files, because nothing else may open them for writing.
 */
import { closeSync, constants, lstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CellPaths,
  cellPaths,
  HostileFileError,
  INBOUND_DB,
  isPassing,
  type MetaRow,
  OUTBOUND_DB,
  openInboundWriter,
  openOutboundReader,
  peekOutbound,
  recoverOutbound,
} from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { LRUCache } from 'lru-cache';
import { type CellRows, type Fill, makeCell, type NewCell } from './create.ts';
import { prepared } from './statements.ts';

/**
 * One open session. Good until the caller's next await: afterwards ask `Cells.open` again (a map lookup), because a cell that
 * nobody has pinned may have been closed meanwhile.
 */
export interface Cell extends CellRows {
  /**
   * The runner's file, read-only; undefined until the runner has made it. One handle, kept. Read it through `readOutbound`.
   * Throws HostileFileError, SchemaSkewError, or SQLite's errors (`isPassing` tells which pass by themselves).
   */
  outbound(): Database | undefined;
}

/** Names come from other processes and become paths: nothing but a DNS label may pass. */
const SESSION_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** There is no such cell on this volume. */
export class CellMissingError extends Error {
  override readonly name = 'CellMissingError';
}

export interface Cells {
  /** The volume's folder. */
  readonly root: string;
  /** Whether the session has a whole cell. One look at the file system. */
  has(session: string): boolean;
  /** Synchronous; cheap when open already. Throws CellMissingError, SchemaSkewError, or SQLite's errors. */
  open(session: string): Cell;
  /** Makes the folders and inbound.db; finishes a half-made one; an existing cell is opened as it is. Durable when it returns. */
  create(cell: NewCell, fill?: Fill): Cell;
  /** Names of all cell folders, sorted; half-made ones too, which `has` tells apart. */
  list(): string[];
  /** Pinned cells (those awake) stay open. */
  pin(session: string): void;
  unpin(session: string): void;
  /** Closes its files, so that the folder may be renamed or its volume unmounted. */
  release(session: string): void;
  /** Rolls back what a killed runner left half-written. Only when the session's Pod is confirmed gone. Throws HostileFileError. */
  recover(session: string): void;
  close(): void;
}

class OpenCell implements Cell {
  readonly session: string;
  readonly paths: CellPaths;
  readonly meta: MetaRow;
  readonly inbound: Database;
  #outbound: { readonly db: Database; readonly inode: bigint } | undefined;
  #wasLocked = false;

  constructor(session: string, paths: CellPaths, inbound: Database, meta: MetaRow) {
    this.session = session;
    this.paths = paths;
    this.inbound = inbound;
    this.meta = meta;
  }

  outbound(): Database | undefined {
    const path = join(this.paths.out, OUTBOUND_DB);
    if (this.#outbound !== undefined && !sameFile(path, this.#outbound.inode)) this.closeOutbound();
    if (this.#outbound === undefined) {
      const head = peekOutbound(path);
      if (head === undefined) return undefined;
      const db = this.#openOutbound(path);
      this.#outbound = { db, inode: head.inode };
      return db;
    }
    return this.#outbound.db;
  }

  #openOutbound(path: string): Database {
    try {
      const db = openOutboundReader(path, undefined, { wasLocked: this.#wasLocked });
      this.#wasLocked = false;
      return db;
    } catch (e) {
      this.#wasLocked = isPassing(e);
      throw e;
    }
  }

  closeOutbound(): void {
    this.#outbound?.db.close();
    this.#outbound = undefined;
  }

  close(): void {
    this.closeOutbound();
    this.inbound.close();
  }
}

function sameFile(path: string, inode: bigint): boolean {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat !== undefined && !stat.isFile()) throw new HostileFileError('cannot read outbound.db: it is not a regular file');
  return stat?.ino === inode;
}

/** A journal that was not finished begins with its magic bytes; a finished one has them zeroed. */
function hasHotJournal(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(`${path}-journal`, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new HostileFileError('cannot recover outbound.db: its journal cannot be opened', { cause: e });
  }
  try {
    const head = Buffer.alloc(8);
    return readSync(fd, head, 0, 8, 0) === 8 && head.some((byte) => byte !== 0);
  } finally {
    closeSync(fd);
  }
}

/** Cells over a shard's folder. `maxOpen` bounds file descriptors of sleeping cells; pinned ones come on top. */
export class ShardCells implements Cells {
  readonly root: string;
  readonly #pinned = new Map<string, OpenCell | undefined>();
  readonly #resting: LRUCache<string, OpenCell>;

  constructor(options: { readonly root: string; readonly maxOpen: number }) {
    this.root = options.root;
    this.#resting = new LRUCache<string, OpenCell>({
      max: options.maxOpen,
      dispose: (cell, _session, reason) => {
        if (reason !== 'delete') cell.close(); // 'delete' is our own taking it out, to pin it or to close it
      },
    });
  }

  has(session: string): boolean {
    if (!SESSION_NAME.test(session)) return false;
    return statSync(join(cellPaths(this.root, session).in, INBOUND_DB), { throwIfNoEntry: false })?.isFile() === true;
  }

  open(session: string): Cell {
    return this.#cell(session);
  }

  create(cell: NewCell, fill: Fill = () => {}): Cell {
    makeCell(this.root, cell, fill);
    return this.#cell(cell.session);
  }

  list(): string[] {
    try {
      return readdirSync(join(this.root, 'cells'), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
        .sort();
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw e;
    }
  }

  pin(session: string): void {
    if (this.#pinned.has(session)) return;
    const open = this.#resting.get(session);
    this.#resting.delete(session);
    this.#pinned.set(session, open);
  }

  unpin(session: string): void {
    const open = this.#pinned.get(session);
    this.#pinned.delete(session);
    if (open !== undefined) this.#resting.set(session, open);
  }

  release(session: string): void {
    this.#pinned.get(session)?.close();
    if (this.#pinned.has(session)) this.#pinned.set(session, undefined);
    const open = this.#resting.get(session);
    this.#resting.delete(session);
    open?.close();
  }

  recover(session: string): void {
    // A reader of ours would hold a shared lock, under which SQLite rolls nothing back.
    (this.#pinned.get(session) ?? this.#resting.peek(session))?.closeOutbound();
    const path = join(cellPaths(this.root, session).out, OUTBOUND_DB);
    if (hasHotJournal(path)) recoverOutbound(path);
  }

  close(): void {
    for (const cell of this.#pinned.values()) cell?.close();
    this.#pinned.clear();
    this.#resting.clear();
  }

  #cell(session: string): OpenCell {
    const known = this.#pinned.get(session) ?? this.#resting.get(session);
    if (known !== undefined) return known;
    const cell = this.#openFiles(session);
    if (this.#pinned.has(session)) this.#pinned.set(session, cell);
    else this.#resting.set(session, cell);
    return cell;
  }

  #openFiles(session: string): OpenCell {
    if (!this.has(session)) throw new CellMissingError(`cannot open session ${session}: it has no cell on this volume`);
    const paths = cellPaths(this.root, session);
    const inbound = openInboundWriter(join(paths.in, INBOUND_DB));
    const meta = prepared(inbound, 'SELECT * FROM meta').get() as MetaRow | undefined;
    if (meta === undefined) {
      inbound.close();
      throw new Error(`cannot open session ${session}: its inbound.db says nothing of whom it belongs to`);
    }
    return new OpenCell(session, paths, inbound, meta);
  }
}
