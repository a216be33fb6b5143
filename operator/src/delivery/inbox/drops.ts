/** drops.db: why events reached nobody. Not to be had from anywhere else, so each row is durable before the answer. */
import { join } from 'node:path';
import type { inbox, sessions } from '@dovecote/proto';
import Sqlite, { type Database } from 'better-sqlite3';
import { prepared } from '../cells/statements.ts';
import { type CommitLine, GroupCommit } from './group-commit.ts';

const VERSION = 1;
/** Single events are kept for `dovecote why`, the counters for ever. */
const MAX_EVENTS = 20_000;

export interface DropEvent {
  readonly event_id: string;
  readonly channel: string;
  readonly chat: string;
  readonly sender: string;
  readonly sender_name: string;
  readonly agent_group: string;
  readonly reason: string;
  readonly detail: string;
  readonly at: number;
}

export class Drops {
  readonly #db: Database;
  readonly #batch: GroupCommit<DropEvent, undefined>;

  constructor(root: string, line: CommitLine) {
    this.#db = new Sqlite(join(root, 'drops.db'));
    this.#db.pragma('journal_mode = WAL'); // one process has it; only the cells are shared
    this.#db.pragma('synchronous = FULL');
    if (Number(this.#db.pragma('user_version', { simple: true })) < VERSION) createTables(this.#db);
    this.#batch = new GroupCommit(line, (drops) => {
      this.#db.transaction(() => {
        for (const drop of drops) this.#insert(drop);
      })();
      return drops.map(() => ({ value: undefined }));
    });
  }

  /** Resolves when it is durable. The same event for the same agent counts once. */
  async record(request: inbox.RecordDropRequest, now: number): Promise<void> {
    await this.#batch.add({
      event_id: request.eventId,
      channel: request.channel,
      chat: request.chat,
      sender: request.sender,
      sender_name: request.senderName,
      agent_group: request.agentGroup,
      reason: request.reason,
      detail: request.detail,
      at: request.receivedAtMs > 0 ? request.receivedAtMs : now,
    });
  }

  /** The latest first. Empty filters match all. */
  list({ channel, chat, sender, limit }: sessions.ListDropsRequest): sessions.Drop[] {
    const rows = prepared(
      this.#db,
      `SELECT * FROM counters WHERE (@channel = '' OR channel = @channel) AND (@chat = '' OR chat = @chat)
         AND (@sender = '' OR sender = @sender) ORDER BY last_at DESC LIMIT @limit`,
    ).all({ channel, chat, sender, limit: limit > 0 ? Math.min(limit, 1000) : 100 }) as (DropEvent & {
      count: number;
      first_at: number;
      last_at: number;
    })[];
    return rows.map((row) => ({
      eventId: row.event_id,
      channel: row.channel,
      chat: row.chat,
      sender: row.sender,
      senderName: row.sender_name,
      agentGroup: row.agent_group,
      reason: row.reason,
      detail: row.detail,
      count: row.count,
      firstMs: row.first_at,
      lastMs: row.last_at,
    }));
  }

  ofEvent(eventId: string): readonly DropEvent[] {
    return prepared(this.#db, 'SELECT * FROM events WHERE event_id = ? ORDER BY id').all(eventId) as DropEvent[];
  }

  close(): void {
    this.#db.close();
  }

  #insert(drop: DropEvent): void {
    const added = prepared(
      this.#db,
      `INSERT INTO events (event_id, channel, chat, sender, sender_name, agent_group, reason, detail, at)
       VALUES (@event_id, @channel, @chat, @sender, @sender_name, @agent_group, @reason, @detail, @at) ON CONFLICT DO NOTHING`,
    ).run(drop);
    if (added.changes === 0) return;
    prepared(
      this.#db,
      `INSERT INTO counters (event_id, channel, chat, sender, sender_name, agent_group, reason, detail, count, first_at, last_at)
       VALUES (@event_id, @channel, @chat, @sender, @sender_name, @agent_group, @reason, @detail, 1, @at, @at)
       ON CONFLICT (channel, chat, sender, agent_group, reason) DO UPDATE SET event_id = excluded.event_id,
         sender_name = excluded.sender_name, detail = excluded.detail, count = count + 1, last_at = max(last_at, excluded.last_at)`,
    ).run(drop);
    prepared(this.#db, 'DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?').run(MAX_EVENTS);
  }
}

function createTables(db: Database): void {
  db.transaction(() => {
    db.exec(`
CREATE TABLE events (
  id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, channel TEXT NOT NULL, chat TEXT NOT NULL, sender TEXT NOT NULL, sender_name TEXT NOT NULL,
  agent_group TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, at INTEGER NOT NULL, UNIQUE (event_id, agent_group)
) STRICT;
CREATE TABLE counters (
  event_id TEXT NOT NULL, channel TEXT NOT NULL, chat TEXT NOT NULL, sender TEXT NOT NULL, sender_name TEXT NOT NULL,
  agent_group TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, count INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL,
  PRIMARY KEY (channel, chat, sender, agent_group, reason)
) STRICT, WITHOUT ROWID;
CREATE INDEX counters_last ON counters (last_at);`);
    db.pragma(`user_version = ${VERSION}`);
  })();
}
