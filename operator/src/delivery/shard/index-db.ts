/**
 * shard.db: what can be found without opening a cell. An index: the cells are the truth, from which it is made anew after an
 * unclean end, so that it may be written lazily (WAL, no sync) and never costs a message anything.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isDiskFull, type MetaRow } from '@dovecote/proto';
import Sqlite, { type Database } from 'better-sqlite3';
import type { Log } from '../../lib/log.ts';
import { parseScope } from '../../lib/scope.ts';
import { prepared } from '../cells/statements.ts';
import { sqliteCode } from './sqlite-code.ts';

const VERSION = 1;

export interface IndexedSession {
  readonly session: string;
  readonly agent_group: string;
  readonly agent_group_uid: string;
  readonly scope: string;
  readonly generation: number;
  readonly type: string;
  readonly title: string | null;
  readonly created_at: number;
  readonly last_activity: number;
  /** when the first message that waits for a turn is due, ms since 1970; null: none waits */
  readonly next_due: number | null;
  readonly pending: number;
  readonly size_bytes: number;
}

/** What a cell's files say and the index repeats. */
export interface SessionFacts {
  readonly last_activity: number;
  readonly next_due: number | null;
  readonly pending: number;
}

/** Opens the index. One that cannot be read is put aside and made anew: it holds nothing that the cells do not. */
export function openIndex(root: string, log: Log): ShardIndex {
  try {
    return new ShardIndex(root);
  } catch (e) {
    if (sqliteCode(e) !== 'SQLITE_NOTADB' && !sqliteCode(e).startsWith('SQLITE_CORRUPT')) throw e;
    log.error({ err: e }, 'index of the shard cannot be read and is made anew');
    for (const suffix of ['', '-wal', '-shm']) rmSync(join(root, `shard.db${suffix}`), { force: true });
    return new ShardIndex(root);
  }
}

export class ShardIndex {
  readonly #db: Database;
  /** True when the last owner did not close it: the cells must be read again. */
  readonly unclean: boolean;
  readonly #dirty = new Map<string, SessionFacts>();

  constructor(root: string) {
    const db = new Sqlite(join(root, 'shard.db'));
    db.pragma('locking_mode = EXCLUSIVE'); // one process has the shard: no lock calls for each look
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = NORMAL');
    if (Number(db.pragma('user_version', { simple: true })) !== VERSION) createTables(db);
    this.unclean = db.prepare("SELECT value FROM facts WHERE key = 'clean'").pluck().get() !== 1;
    db.prepare("INSERT OR REPLACE INTO facts VALUES ('clean', 0)").run();
    db.pragma('wal_checkpoint(TRUNCATE)'); // "not clean" must outlive a power cut, which WAL without sync alone does not promise
    this.#db = db;
  }

  /** Adds or refreshes a session from its meta row. */
  add(meta: MetaRow): void {
    prepared(
      this.#db,
      `INSERT INTO sessions (session, agent_group, agent_group_uid, scope, generation, type, title, created_at, last_activity)
       VALUES (@session, @agent_group, @agent_group_uid, @scope, @generation, @type, @title, @created_at, @created_at)
       ON CONFLICT (session) DO UPDATE SET agent_group = excluded.agent_group, title = excluded.title`,
    ).run({ ...meta, title: meta.title });
    const chat = parseScope(meta.scope);
    if (chat !== undefined) this.addChat(meta.session, chat.channel, chat.chat);
  }

  remove(session: string): void {
    this.#dirty.delete(session);
    prepared(this.#db, 'DELETE FROM sessions WHERE session = ?').run(session);
    prepared(this.#db, 'DELETE FROM chats WHERE session = ?').run(session);
  }

  get(session: string): IndexedSession | undefined {
    const row = prepared(this.#db, 'SELECT * FROM sessions WHERE session = ?').get(session) as IndexedSession | undefined;
    const dirty = this.#dirty.get(session);
    return row === undefined || dirty === undefined ? row : { ...row, ...dirty };
  }

  /** The scope's newest session, the one that new messages go to. */
  active(agentGroupUid: string, scope: string): IndexedSession | undefined {
    const sql = 'SELECT * FROM sessions WHERE agent_group_uid = ? AND scope = ? ORDER BY generation DESC LIMIT 1';
    return prepared(this.#db, sql).get(agentGroupUid, scope) as IndexedSession | undefined;
  }

  /** Newest activity first. `agentGroup` empty: all. */
  list(agentGroup: string, limit: number): readonly IndexedSession[] {
    this.flush();
    const sql = "SELECT * FROM sessions WHERE (? = '' OR agent_group = ?) ORDER BY last_activity DESC, session LIMIT ?";
    return prepared(this.#db, sql).all(agentGroup, agentGroup, limit) as IndexedSession[];
  }

  /** All of one agent's, newest activity first. */
  ofAgent(agentGroupUid: string): readonly IndexedSession[] {
    this.flush();
    const sql = 'SELECT * FROM sessions WHERE agent_group_uid = ? ORDER BY last_activity DESC, session';
    return prepared(this.#db, sql).all(agentGroupUid) as IndexedSession[];
  }

  names(): string[] {
    return prepared(this.#db, 'SELECT session FROM sessions ORDER BY session').pluck().all() as string[];
  }

  /** Sessions that have something to say to a chat: those about it, and those that heard from it or sent to it. */
  sessionsOfChat(channel: string, chat: string): string[] {
    const sql = 'SELECT session FROM chats WHERE channel = ? AND chat = ? ORDER BY session';
    return prepared(this.#db, sql).pluck().all(channel, chat) as string[];
  }

  addChat(session: string, channel: string, chat: string): void {
    prepared(this.#db, 'INSERT INTO chats (channel, chat, session) VALUES (?, ?, ?) ON CONFLICT DO NOTHING').run(channel, chat, session);
  }

  /** Sessions whose first waiting message is due, the longest waiting first. */
  due(now: number): string[] {
    this.flush();
    return prepared(this.#db, 'SELECT session FROM sessions WHERE next_due <= ? ORDER BY next_due').pluck().all(now) as string[];
  }

  /** Kept in memory until `flush`: a burst of messages is one write. */
  setFacts(session: string, facts: SessionFacts): void {
    this.#dirty.set(session, facts);
  }

  setSize(session: string, bytes: number): void {
    prepared(this.#db, 'UPDATE sessions SET size_bytes = ? WHERE session = ?').run(bytes, session);
  }

  setTitle(session: string, title: string): void {
    prepared(this.#db, 'UPDATE sessions SET title = ? WHERE session = ?').run(title, session);
  }

  sizeOfAgent(agentGroupUid: string): number {
    const sql = 'SELECT coalesce(sum(size_bytes), 0) FROM sessions WHERE agent_group_uid = ?';
    return prepared(this.#db, sql).pluck().get(agentGroupUid) as number;
  }

  flush(): void {
    if (this.#dirty.size === 0) return;
    const update = prepared(
      this.#db,
      'UPDATE sessions SET last_activity = @last_activity, next_due = @next_due, pending = @pending WHERE session = @session',
    );
    try {
      this.#db.transaction(() => {
        for (const [session, facts] of this.#dirty) update.run({ ...facts, session });
      })();
    } catch (e) {
      if (isDiskFull(e)) return; // kept in memory until there is room: a full volume must not end the loops that relieve it
      throw e;
    }
    this.#dirty.clear();
  }

  /** On a full volume it stays marked as not clean: the next start reads the cells again. */
  close(): void {
    try {
      this.flush();
      this.#db.prepare("INSERT OR REPLACE INTO facts VALUES ('clean', 1)").run();
    } catch (e) {
      if (!isDiskFull(e)) throw e;
    } finally {
      this.#db.close();
    }
  }
}

function createTables(db: Database): void {
  db.transaction(() => {
    db.exec(`
DROP TABLE IF EXISTS facts; DROP TABLE IF EXISTS sessions; DROP TABLE IF EXISTS chats;
CREATE TABLE facts (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE sessions (
  session TEXT PRIMARY KEY, agent_group TEXT NOT NULL, agent_group_uid TEXT NOT NULL, scope TEXT NOT NULL, generation INTEGER NOT NULL,
  type TEXT NOT NULL, title TEXT, created_at INTEGER NOT NULL,
  last_activity INTEGER NOT NULL, next_due INTEGER, pending INTEGER NOT NULL DEFAULT 0, size_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX sessions_scope ON sessions (agent_group_uid, scope, generation);
CREATE INDEX sessions_due ON sessions (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX sessions_activity ON sessions (last_activity);
CREATE TABLE chats (channel TEXT NOT NULL, chat TEXT NOT NULL, session TEXT NOT NULL, PRIMARY KEY (channel, chat, session)) STRICT, WITHOUT ROWID;
CREATE INDEX chats_session ON chats (session);`);
    db.pragma(`user_version = ${VERSION}`);
  })();
}
