/** The one file of the embedded store: objects, their history for watches, one version counter. The only opener of it. */
import Sqlite, { type Database as SqliteDatabase } from 'better-sqlite3';
import type { JsonObject } from '../json.ts';
import type { Managers } from './field-managers.ts';

/** An object as it is stored, with who owns which of its fields. */
export interface Stored {
  readonly body: JsonObject;
  readonly managers: Managers;
}

export interface HistoryRow {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly body: JsonObject;
  readonly previous: JsonObject | undefined;
}

export interface ObjectKey {
  /** `plural.group`, as the API server writes it in its messages */
  readonly resource: string;
  readonly name: string;
}

const SCHEMA = `
  CREATE TABLE objects (
    resource TEXT NOT NULL,
    name TEXT NOT NULL,
    uid TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    managers TEXT NOT NULL,
    PRIMARY KEY (resource, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE owners (
    owner_uid TEXT NOT NULL,
    resource TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (owner_uid, resource, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE history (
    version INTEGER PRIMARY KEY,
    resource TEXT NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('ADDED', 'MODIFIED', 'DELETED')),
    body TEXT NOT NULL,
    previous TEXT
  ) STRICT;
  CREATE INDEX history_of_resource ON history (resource, version);
  CREATE TABLE versions (latest INTEGER NOT NULL, compacted INTEGER NOT NULL) STRICT;
  INSERT INTO versions VALUES (1, 0);
  PRAGMA user_version = 1;
`;

interface RawStored {
  body: string;
  managers: string;
}
interface RawHistory {
  version: number;
  type: HistoryRow['type'];
  body: string;
  previous: string | null;
}

export class Database {
  readonly #db: SqliteDatabase;
  readonly #statements;

  /** Throws when another process has the file open. */
  constructor(path: string) {
    const db = new Sqlite(path, { timeout: 1_000 });
    this.#db = db;
    try {
      db.pragma('locking_mode = EXCLUSIVE'); // two processes with one store each would both hand out the same versions
      db.pragma('journal_mode = WAL'); // one process, one opener: half the syncs, and no reader on another mount to break
      db.pragma('synchronous = FULL'); // an answered write outlives a power cut, as etcd's does; writes are transitions only, so rare
      const version = db.pragma('user_version', { simple: true });
      if (version === 0) db.transaction(() => db.exec(SCHEMA))();
      else if (version !== 1) throw new Error(`cannot open ${path}: it was written by a newer dovecote (version ${String(version)})`);
      db.exec('BEGIN EXCLUSIVE; COMMIT'); // takes the lock now, not at the first write
    } catch (e) {
      db.close();
      if (typeof e === 'object' && e !== null && 'code' in e && String(e.code).startsWith('SQLITE_BUSY')) {
        throw new Error(`cannot open ${path}: another dovecote process uses it`, { cause: e });
      }
      throw e;
    }
    this.#statements = {
      read: db.prepare<[string, string], RawStored>('SELECT body, managers FROM objects WHERE resource = ? AND name = ?'),
      all: db.prepare<[string], { body: string }>('SELECT body FROM objects WHERE resource = ? ORDER BY name'),
      exists: db.prepare<[string], { found: number }>('SELECT 1 AS found FROM objects WHERE uid = ?'),
      write: db.prepare<[string, string, string, string, string]>(
        'INSERT INTO objects (resource, name, uid, body, managers) VALUES (?, ?, ?, ?, ?)' +
          ' ON CONFLICT (resource, name) DO UPDATE SET uid = excluded.uid, body = excluded.body, managers = excluded.managers',
      ),
      remove: db.prepare<[string, string]>('DELETE FROM objects WHERE resource = ? AND name = ?'),
      disown: db.prepare<[string, string]>('DELETE FROM owners WHERE resource = ? AND name = ?'),
      own: db.prepare<[string, string, string]>('INSERT OR IGNORE INTO owners (owner_uid, resource, name) VALUES (?, ?, ?)'),
      owned: db.prepare<[string], ObjectKey>('SELECT resource, name FROM owners WHERE owner_uid = ?'),
      allOwned: db.prepare<[], ObjectKey>('SELECT DISTINCT resource, name FROM owners'),
      next: db.prepare<[], { latest: number }>('UPDATE versions SET latest = latest + 1 RETURNING latest'),
      versions: db.prepare<[], { latest: number; compacted: number }>('SELECT latest, compacted FROM versions'),
      record: db.prepare<[number, string, string, string, string | null]>(
        'INSERT INTO history (version, resource, type, body, previous) VALUES (?, ?, ?, ?, ?)',
      ),
      history: db.prepare<[string, number, number], RawHistory>(
        'SELECT version, type, body, previous FROM history WHERE resource = ? AND version > ? ORDER BY version LIMIT ?',
      ),
      forget: db.prepare<[number]>('DELETE FROM history WHERE version <= ?'),
      compacted: db.prepare<[number]>('UPDATE versions SET compacted = max(compacted, ?)'),
    };
  }

  /** All of `work` or none of it. */
  transaction<R>(work: () => R): R {
    return this.#db.transaction(work).immediate();
  }

  read({ resource, name }: ObjectKey): Stored | undefined {
    const row = this.#statements.read.get(resource, name);
    return row === undefined ? undefined : { body: JSON.parse(row.body) as JsonObject, managers: JSON.parse(row.managers) as Managers };
  }

  *list(resource: string): Generator<JsonObject, void> {
    for (const row of this.#statements.all.all(resource)) yield JSON.parse(row.body) as JsonObject;
  }

  existsUid(uid: string): boolean {
    return this.#statements.exists.get(uid) !== undefined;
  }

  write({ resource, name }: ObjectKey, stored: Stored, uids: { readonly self: string; readonly owners: readonly string[] }): void {
    this.#statements.write.run(resource, name, uids.self, JSON.stringify(stored.body), JSON.stringify(stored.managers));
    this.#statements.disown.run(resource, name);
    for (const uid of uids.owners) this.#statements.own.run(uid, resource, name);
  }

  remove({ resource, name }: ObjectKey): void {
    this.#statements.remove.run(resource, name);
    this.#statements.disown.run(resource, name);
  }

  /** Objects with an ownerReference to `uid`. */
  ownedBy(uid: string): ObjectKey[] {
    return this.#statements.owned.all(uid);
  }

  allOwned(): ObjectKey[] {
    return this.#statements.allOwned.all();
  }

  nextVersion(): number {
    return this.#statements.next.get()?.latest ?? 0;
  }

  /** `compacted`: up to and with this version the history is forgotten. */
  versions(): { readonly latest: number; readonly compacted: number } {
    return this.#statements.versions.get() ?? { latest: 0, compacted: 0 };
  }

  record(resource: string, row: HistoryRow): void {
    const previous = row.previous === undefined ? null : JSON.stringify(row.previous);
    this.#statements.record.run(row.version, resource, row.type, JSON.stringify(row.body), previous);
  }

  history(resource: string, after: number, limit: number): HistoryRow[] {
    return this.#statements.history.all(resource, after, limit).map(({ version, type, body, previous }) => ({
      version,
      type,
      body: JSON.parse(body) as JsonObject,
      previous: previous === null ? undefined : (JSON.parse(previous) as JsonObject),
    }));
  }

  compact(version: number): void {
    this.transaction(() => {
      this.#statements.forget.run(version);
      this.#statements.compacted.run(version);
    });
  }

  close(): void {
    this.#db.close();
  }
}
