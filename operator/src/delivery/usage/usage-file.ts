/**
 * usage.db: what agents used. Unlike shard.db it CANNOT be made anew from the cells: what is lost here is a budget that begins again.
 * So each row is durable before the answer, and a file that cannot be read is put aside, not removed.
 */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { type Migration, migrate } from '@dovecote/proto';
import Sqlite, { type Database } from 'better-sqlite3';
import type { Log } from '../../lib/log.ts';
import { sqliteCode } from '../shard/sqlite-code.ts';

const FILE = 'usage.db';

/** Tokens are whole numbers, cost is in millionths of the currency, times are ms since 1970, `day` is days since 1970 (UTC). */
const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    sql: `
-- One model request. finished_at NULL: admitted, and nobody told its end yet.
CREATE TABLE requests (
  request_id TEXT PRIMARY KEY, agent_group TEXT NOT NULL, agent_group_uid TEXT NOT NULL, session TEXT NOT NULL, model TEXT NOT NULL,
  admitted_at INTEGER NOT NULL, finished_at INTEGER, complete INTEGER CHECK (complete IN (0, 1))
) STRICT;
CREATE INDEX requests_unfinished ON requests (agent_group, admitted_at) WHERE finished_at IS NULL;
CREATE INDEX requests_finished ON requests (finished_at) WHERE finished_at IS NOT NULL;
-- What is shown to people.
CREATE TABLE totals (
  agent_group_uid TEXT NOT NULL, day INTEGER NOT NULL, session TEXT NOT NULL, model TEXT NOT NULL, agent_group TEXT NOT NULL,
  requests INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,
  cost INTEGER NOT NULL, PRIMARY KEY (agent_group_uid, day, session, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX totals_day ON totals (day);
-- What a budget is compared with: few rows, because it is summed before each request.
CREATE TABLE days (
  agent_group_uid TEXT NOT NULL, day INTEGER NOT NULL, tokens INTEGER NOT NULL, cost INTEGER NOT NULL, PRIMARY KEY (agent_group_uid, day)
) STRICT, WITHOUT ROWID;`,
  },
  {
    version: 2,
    sql: `
-- Requests that a process of the proxy may have open before they are rows here: what is left of a budget must hold for them too.
CREATE TABLE headroom (
  agent_group_uid TEXT NOT NULL, holder TEXT NOT NULL, requests INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (agent_group_uid, holder)
) STRICT, WITHOUT ROWID;
-- Sessions that were refused, and are to hear of it when their agent's budget has room again.
CREATE TABLE refused (
  agent_group_uid TEXT NOT NULL, session TEXT NOT NULL, agent_group TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (agent_group_uid, session)
) STRICT, WITHOUT ROWID;`,
  },
];

/** The only opener. Throws SchemaSkewError, or SQLite's errors of a volume that cannot be written. */
export function openUsageFile(root: string, log: Log, now: number): Database {
  try {
    return open(root);
  } catch (e) {
    if (sqliteCode(e) !== 'SQLITE_NOTADB' && !sqliteCode(e).startsWith('SQLITE_CORRUPT')) throw e;
    const aside = `${FILE}.unreadable-${now}`;
    log.error({ err: e, aside }, 'usage ledger cannot be read, is put aside, and budgets begin anew');
    for (const suffix of ['', '-wal', '-shm']) {
      try {
        renameSync(join(root, FILE + suffix), join(root, aside + suffix));
      } catch (missing) {
        if ((missing as NodeJS.ErrnoException).code !== 'ENOENT') throw missing;
      }
    }
    return open(root);
  }
}

function open(root: string): Database {
  const db = new Sqlite(join(root, FILE));
  try {
    db.pragma('journal_mode = WAL'); // one process has it; only the cells are shared
    db.pragma('synchronous = FULL'); // WAL alone loses the last commits at a power cut, and with them what was already paid
    migrate(db, MIGRATIONS, FILE);
    return db;
  } catch (e) {
    db.close();
    throw e;
  }
}
