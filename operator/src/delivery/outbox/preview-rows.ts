/** Every statement on `previews`. The caller's transaction decides what is one commit. Times in ms since 1970. */
import type { PreviewRow } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { prepared } from '../cells/statements.ts';
import type { Address } from './address.ts';

export function find(db: Database, turn: string): PreviewRow | undefined {
  return prepared(db, 'SELECT * FROM previews WHERE turn_id = ?').get(turn) as PreviewRow | undefined;
}

/** Those that stand in a chat, or may. Exactly as the partial index `previews_open` has it, or SQLite does not use it. */
export function open(db: Database): PreviewRow[] {
  return prepared(db, `SELECT * FROM previews WHERE state IN ('posting', 'shown') ORDER BY created_at`).all() as PreviewRow[];
}

/** To be committed before the call that makes it. */
export function posting(db: Database, turn: string, { channel, chat, thread }: Address, now: number): void {
  prepared(
    db,
    `INSERT INTO previews (turn_id, channel, chat, thread, state, created_at, updated_at) VALUES (?, ?, ?, ?, 'posting', ?, ?)`,
  ).run(turn, channel, chat, thread, now, now);
}

export function shown(db: Database, turn: string, platformMessageId: string, now: number): void {
  prepared(db, `UPDATE previews SET state = 'shown', platform_message_id = ?, updated_at = ? WHERE turn_id = ? AND state = 'posting'`).run(
    platformMessageId,
    now,
    turn,
  );
}

/** The answer is in its place, or it is removed. */
export function over(db: Database, turn: string, state: 'taken' | 'gone', now: number): void {
  prepared(db, `UPDATE previews SET state = ?, updated_at = ? WHERE turn_id = ? AND state IN ('posting', 'shown')`).run(state, now, turn);
}

/** What is over and so old that no answer of its turn can come any more. */
export function forget(db: Database, before: number): void {
  prepared(db, `DELETE FROM previews WHERE state IN ('taken', 'gone') AND updated_at < ?`).run(before);
}
