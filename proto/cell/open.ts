/**
 * The only openers of the cell's two files. Every pragma is here, with what breaks without it.
 *
 * Rollback journal, never WAL: the runner's mount of inbound.db is read-only, and a WAL reader must write shared memory.
 * PERSIST with FULL: of the modes that are durable at commit it is the cheapest (DELETE needs EXTRA to sync the folder).
 * `make bench` prints the figures.
 */
import { closeSync, constants, fstatSync, ftruncateSync, lstatSync, openSync, readSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import Sqlite, { type Database } from 'better-sqlite3';
import { INBOUND_MIGRATIONS } from './inbound.ts';
import { checkSkew, type Migration, migrate, schemaVersion } from './migrate.ts';
import { OUTBOUND_MIGRATIONS } from './outbound.ts';

/** Longer than any commit of ours; without it a reader that meets a commit fails at once. */
const BUSY_MS = 5_000;
/** For the agent's file: whoever waits for it stands still with all of delivery, and the agent may lock it for ever. Callers retry. */
const HOSTILE_BUSY_MS = 20;

/** The file is not what a runner of ours writes. Harms only its own session. */
export class HostileFileError extends Error {
  override readonly name = 'HostileFileError';
}

function openWriter(path: string, migrations: readonly Migration[]): Database {
  const db = new Sqlite(path, { timeout: BUSY_MS });
  try {
    db.pragma('journal_mode = PERSIST');
    db.pragma('synchronous = FULL');
    db.pragma('journal_size_limit = 1048576'); // one huge transaction would else leave its journal's size for ever
    db.pragma('temp_store = MEMORY'); // the runner's root file system is read-only
    db.pragma('foreign_keys = ON');
    migrate(db, migrations, basename(path));
    return db;
  } catch (e) {
    db.close();
    throw e;
  }
}

/** Delivery's handle. Creates and migrates the file. Throws SchemaSkewError. */
export function openInboundWriter(path: string, migrations: readonly Migration[] = INBOUND_MIGRATIONS): Database {
  return openWriter(path, migrations);
}

/** The runner's handle on its own file. Opening it read-write also rolls back what a killed predecessor left half-written. */
export function openOutboundWriter(path: string, migrations: readonly Migration[] = OUTBOUND_MIGRATIONS): Database {
  return openWriter(path, migrations);
}

/** The runner's handle on the host's file. Throws SQLITE_CANTOPEN until the file exists, SchemaSkewError. */
export function openInboundReader(path: string, migrations: readonly Migration[] = INBOUND_MIGRATIONS): Database {
  const db = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: BUSY_MS });
  try {
    db.pragma('temp_store = MEMORY');
    db.pragma('query_only = ON');
    checkSkew(schemaVersion(db), migrations, basename(path));
    return db;
  } catch (e) {
    db.close();
    throw e;
  }
}

/** What one look at a file's first 100 bytes tells, without SQLite and without a lock. */
export interface OutboundHeader {
  /** grows with every commit: equal means nothing new */
  readonly changeCounter: number;
  readonly sizeBytes: number;
  readonly inode: bigint;
}

/**
 * Looks at outbound.db without following a link. undefined: not there, or still empty.
 * Throws HostileFileError for anything but a plain rollback-journal database.
 */
export function peekOutbound(path: string): OutboundHeader | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') throw new HostileFileError('cannot read outbound.db: it is a link');
    throw e;
  }
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) throw new HostileFileError('cannot read outbound.db: it is not a regular file');
    const head = Buffer.alloc(100);
    if (readSync(fd, head, 0, 100, 0) < 100) return undefined;
    if (head.toString('latin1', 0, 16) !== 'SQLite format 3\0')
      throw new HostileFileError('cannot read outbound.db: it is not a SQLite database');
    // 1 and 1: rollback journal. 2 would make SQLite map a shared-memory file that the agent wrote.
    if (head[18] !== 1 || head[19] !== 1) throw new HostileFileError('cannot read outbound.db: it is in WAL mode');
    return { changeCounter: head.readUInt32BE(24), sizeBytes: Number(stat.size), inode: stat.ino };
  } finally {
    closeSync(fd);
  }
}

/** Tables and columns of each known version, as SQLite itself lists them. Made by running the migrations, not by hand. */
function expectedSchema(migrations: readonly Migration[], version: number): ReadonlySet<string> {
  const db = new Sqlite(':memory:');
  try {
    migrate(
      db,
      migrations.filter((m) => m.version <= version),
      'the expected schema',
    );
    return new Set(schemaRows(db));
  } finally {
    db.close();
  }
}
function schemaRows(db: Database): string[] {
  return db
    .prepare(
      "SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_schema WHERE length(sql) < 65536 OR sql IS NULL LIMIT 1000",
    )
    .pluck()
    .all() as string[];
}
const expectedByVersion = new Map<number, ReadonlySet<string>>();

/**
 * Delivery's handle on the runner's file: read-only, and everything about it checked.
 * Throws HostileFileError (not ours), SchemaSkewError, or SQLite's own errors, of which BUSY and READONLY_ROLLBACK pass by themselves.
 * `wasLocked`: the last try met a lock, and this one does not wait for it.
 */
export function openOutboundReader(
  path: string,
  migrations: readonly Migration[] = OUTBOUND_MIGRATIONS,
  { wasLocked = false }: { readonly wasLocked?: boolean } = {},
): Database {
  const before = peekOutbound(path);
  if (before === undefined) throw new HostileFileError('cannot read outbound.db: it is missing or empty');
  // better-sqlite3 offers no SQLITE_OPEN_NOFOLLOW: the path is resolved first and the inode compared after.
  const real = join(realpathSync(dirname(path)), basename(path));
  const db = new Sqlite(real, { readonly: true, fileMustExist: true, timeout: HOSTILE_BUSY_MS });
  try {
    if (wasLocked) stopWaiting(db);
    db.pragma('trusted_schema = OFF'); // a view or default of the agent's must not call functions
    db.pragma('query_only = ON');
    db.pragma('cell_size_check = ON'); // a crafted page is an error, not a wild read
    db.pragma('mmap_size = 0'); // a file truncated under a map is a SIGBUS, which kills delivery
    db.pragma('temp_store = MEMORY');
    const after = lstatSync(real, { bigint: true });
    if (!after.isFile() || after.ino !== before.inode)
      throw new HostileFileError('cannot read outbound.db: it was exchanged while it was opened');
    readOutbound(db, () => {}, migrations);
    return db;
  } catch (e) {
    db.close();
    throw e;
  }
}

const verified = new WeakMap<Database, number>();
const impatient = new WeakSet<Database>();

/** An agent may keep its file locked for as long as it likes: whoever waited for it once in vain does not wait again. */
function stopWaiting(db: Database): void {
  impatient.add(db);
  db.pragma('busy_timeout = 0');
}

/**
 * Runs `read` in one read transaction on an openOutboundReader's handle: one snapshot, with the schema checked in that snapshot. Keep
 * it short, the runner cannot commit meanwhile. Throws HostileFileError, SchemaSkewError, or SQLite's errors (see isPassing).
 *
 * Every read of the agent's file goes through here. Outside of it a header that says WAL, written after peekOutbound looked,
 * makes SQLite map the agent's shared-memory file. In exclusive locking mode it must lock that file for writing first, which
 * it cannot on a read-only handle: the read fails instead.
 */
export function readOutbound<T>(db: Database, read: () => T, migrations: readonly Migration[] = OUTBOUND_MIGRATIONS): T {
  db.pragma('locking_mode = EXCLUSIVE');
  try {
    db.exec('BEGIN');
    const version = Number(db.pragma('schema_version', { simple: true })); // counts every change of the schema
    if (verified.get(db) !== version) {
      checkSkew(schemaVersion(db), migrations, 'outbound.db');
      verifyOutboundSchema(db, migrations);
      verified.set(db, version);
    }
    if (impatient.delete(db)) db.pragma(`busy_timeout = ${HOSTILE_BUSY_MS}`);
    return read();
  } catch (e) {
    if (codeOf(e) === 'SQLITE_BUSY') stopWaiting(db);
    throw e;
  } finally {
    db.pragma('locking_mode = NORMAL'); // before the end: a transaction that ends in exclusive mode keeps its lock
    if (db.inTransaction) db.exec('ROLLBACK');
  }
}

/**
 * Throws HostileFileError unless every table is the one our migrations made. A version newer than ours may have more,
 * but what we know must be as we know it; a trigger or view is never ours.
 */
export function verifyOutboundSchema(db: Database, migrations: readonly Migration[] = OUTBOUND_MIGRATIONS): void {
  const version = Math.min(schemaVersion(db), migrations.at(-1)?.version ?? 0);
  const cached = migrations === OUTBOUND_MIGRATIONS ? expectedByVersion.get(version) : undefined;
  const expected = cached ?? expectedSchema(migrations, version);
  if (migrations === OUTBOUND_MIGRATIONS) expectedByVersion.set(version, expected);
  const found = new Set(schemaRows(db));
  for (const row of found) {
    if (row.startsWith('trigger ') || row.startsWith('view '))
      throw new HostileFileError(`cannot read outbound.db: it has a ${row.slice(0, row.indexOf(' '))}`);
  }
  for (const row of expected) {
    if (!found.has(row))
      throw new HostileFileError(`cannot read outbound.db: ${row.split(' ').slice(0, 2).join(' ')} is not as this program made it`);
  }
}

const JOURNAL_MAGIC = Buffer.from('d9d505f920a163d7', 'hex');

/**
 * Rolls back what a killed runner left half-written. Only for a session whose Pod is confirmed gone: a second writer corrupts.
 * Throws HostileFileError for a file or journal that is not plainly the runner's.
 */
export function recoverOutbound(path: string): void {
  if (peekOutbound(path) === undefined) return;
  const journal = `${path}-journal`;
  try {
    const stat = lstatSync(journal);
    if (!stat.isFile()) throw new HostileFileError('cannot recover outbound.db: its journal is not a regular file');
    dropSuperJournalName(journal, stat.size);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
  }
  const db = new Sqlite(path, { fileMustExist: true, timeout: BUSY_MS });
  try {
    db.pragma('trusted_schema = OFF');
    db.prepare('SELECT count(*) FROM sqlite_schema').get(); // the first read lock is what rolls back
  } finally {
    db.close();
  }
}

/**
 * A journal may name a "super-journal" in its last bytes, which SQLite deletes after the rollback: in the agent's hands, any
 * file of ours. Cut until none is named, as a crafted tail may hide a second one behind the first.
 */
function dropSuperJournalName(journal: string, size: number): void {
  const fd = openSync(journal, constants.O_RDWR | constants.O_NOFOLLOW);
  const tail = Buffer.alloc(8);
  try {
    for (let end = size; end >= 16; end -= 8) {
      readSync(fd, tail, 0, 8, end - 8);
      if (!tail.equals(JOURNAL_MAGIC)) return;
      ftruncateSync(fd, end - 8);
    }
  } finally {
    closeSync(fd);
  }
}

/** Of SQLite or the file system. Not by class: the native module keeps the first one it is given, which need not be the one imported here. */
function codeOf(e: unknown): string | undefined {
  return typeof e === 'object' && e !== null && 'code' in e && typeof e.code === 'string' ? e.code : undefined;
}

const PASSING: ReadonlySet<string | undefined> = new Set([
  'SQLITE_BUSY',
  'SQLITE_BUSY_SNAPSHOT',
  'SQLITE_READONLY_ROLLBACK',
  'SQLITE_BUSY_RECOVERY',
]);

/** A read that met a commit or a killed writer: not an error, the next look succeeds (or recovery comes first). */
export function isPassing(e: unknown): boolean {
  return PASSING.has(codeOf(e));
}

const DISK_FULL: ReadonlySet<string | undefined> = new Set(['SQLITE_FULL', 'SQLITE_IOERR_WRITE', 'SQLITE_IOERR_FSYNC', 'ENOSPC', 'EDQUOT']);

/** The volume has no room. The transaction was rolled back; the file is whole. */
export function isDiskFull(e: unknown): boolean {
  return DISK_FULL.has(codeOf(e));
}
