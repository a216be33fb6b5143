/**
 * Every statement on the ledger (`delivered`), on `notices` and on the status of inbound rows. The caller's transaction decides what
 * is one commit. Times in ms since 1970.
 */
import type { ChatContent, DeliveredRow, InboundContent, MessageInRow, NoticeRow } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { nextSeq } from '../cells/next-seq.ts';
import { prepared } from '../cells/statements.ts';

// Exactly as in the partial index `delivered_open`, or SQLite does not use it.
const OPEN = `state NOT IN ('delivered', 'dead')`;
// Asked for later and not tried yet: holds up nobody.
const LATER = `(state = 'queued' AND attempts = 0 AND part = 0 AND next_attempt_at > ?)`;

/** The highest runner's row that the ledger knows: everything above is new. */
export function cursor(db: Database): number {
  const seq = prepared(db, 'SELECT seq FROM delivered WHERE seq % 2 = 1 ORDER BY seq DESC LIMIT 1').pluck().get();
  return typeof seq === 'number' ? seq : 0;
}

export function find(db: Database, seq: number): DeliveredRow | undefined {
  return prepared(db, 'SELECT * FROM delivered WHERE seq = ?').get(seq) as DeliveredRow | undefined;
}

export function idempotencyKey(session: string, seq: number, part: number): string {
  return `${session}/${seq}/${part}`;
}

export interface NewLedgerRow {
  readonly session: string;
  readonly seq: number;
  readonly lane: string;
  readonly notBefore: number;
  readonly now: number;
}

export function queue(db: Database, { session, seq, lane, notBefore, now }: NewLedgerRow): void {
  prepared(
    db,
    `INSERT INTO delivered (seq, lane, state, next_attempt_at, idempotency_key, created_at, updated_at)
     VALUES (?, ?, 'queued', ?, ?, ?, ?)`,
  ).run(seq, lane, notBefore, idempotencyKey(session, seq, 0), now, now);
}

/** The row whose turn it is in a lane, due or not. Rows asked for later do not count until then. */
export function head(db: Database, lane: string, now: number): DeliveredRow | undefined {
  return prepared(db, `SELECT * FROM delivered WHERE lane = ? AND ${OPEN} AND NOT ${LATER} ORDER BY seq LIMIT 1`).get(lane, now) as
    | DeliveredRow
    | undefined;
}

/** Lanes in which something may be due. */
export function dueLanes(db: Database, now: number): string[] {
  const sql = `SELECT DISTINCT lane FROM delivered WHERE ${OPEN} AND state <> 'sending' AND next_attempt_at <= ?`;
  return prepared(db, sql).pluck().all(now) as string[];
}

/** When the next row becomes due; undefined when none waits for a time. */
export function nextDue(db: Database, now: number): number | undefined {
  const sql = `SELECT min(next_attempt_at) FROM delivered WHERE ${OPEN} AND state <> 'sending' AND next_attempt_at > ?`;
  const due = prepared(db, sql).pluck().get(now);
  return typeof due === 'number' ? due : undefined;
}

/** Rows neither delivered nor dead, but for those asked for later. */
export function countOpen(db: Database, now: number): number {
  return prepared(db, `SELECT count(*) FROM delivered WHERE ${OPEN} AND NOT ${LATER}`).pluck().get(now) as number;
}

/** All of them. */
export function countWaiting(db: Database): number {
  return prepared(db, `SELECT count(*) FROM delivered WHERE ${OPEN}`).pluck().get() as number;
}

/** To be committed before the call. */
export function sending(db: Database, seq: number, now: number): DeliveredRow {
  return prepared(
    db,
    `UPDATE delivered SET state = 'sending', attempts = attempts + 1, first_attempt_at = coalesce(first_attempt_at, ?), updated_at = ?
     WHERE seq = ? RETURNING *`,
  ).get(now, now, seq) as DeliveredRow;
}

export interface Sent {
  readonly session: string;
  readonly row: Pick<DeliveredRow, 'seq' | 'part'>;
  /** '' when the platform gives none */
  readonly platformMessageId: string;
  readonly more: boolean;
  readonly now: number;
}

/** The platform has this part. With `more` the next part is queued at its place, which no other row of the lane can take. */
export function sent(db: Database, { session, row, platformMessageId, more, now }: Sent): void {
  const ids = `platform_message_id = coalesce(platform_message_id, nullif(@id, '')), part_ids = json_insert(part_ids, '$[#]', @id)`;
  if (more) {
    prepared(
      db,
      `UPDATE delivered SET state = 'queued', part = part + 1, attempts = 0, first_attempt_at = NULL, next_attempt_at = 0,
         last_error = NULL, idempotency_key = @key, ${ids}, updated_at = @now WHERE seq = @seq`,
    ).run({ id: platformMessageId, key: idempotencyKey(session, row.seq, row.part + 1), now, seq: row.seq });
  } else {
    prepared(
      db,
      `UPDATE delivered SET state = 'delivered', next_attempt_at = 0, last_error = NULL, ${ids}, updated_at = @now WHERE seq = @seq`,
    ).run({ id: platformMessageId, now, seq: row.seq });
  }
}

/** `failed`: not sent, again at `at`. `in_doubt`: perhaps sent, to be settled at `at`. `queued`: deferred, no attempt was made. */
export function again(
  db: Database,
  seq: number,
  state: 'failed' | 'in_doubt' | 'queued',
  error: string | null,
  at: number,
  now: number,
): void {
  prepared(db, 'UPDATE delivered SET state = ?, last_error = ?, next_attempt_at = ?, updated_at = ? WHERE seq = ?').run(
    state,
    error,
    at,
    now,
    seq,
  );
}

/** An attempt to settle, counted for its backoff. */
export function countAttempt(db: Database, seq: number): void {
  prepared(db, 'UPDATE delivered SET attempts = attempts + 1 WHERE seq = ?').run(seq);
}

/** Its Destination leads elsewhere now. */
export function move(db: Database, seq: number, lane: string, now: number): void {
  prepared(db, 'UPDATE delivered SET lane = ?, updated_at = ? WHERE seq = ?').run(lane, now, seq);
}

export function dead(db: Database, seq: number, error: string, now: number): void {
  prepared(db, `UPDATE delivered SET state = 'dead', last_error = ?, updated_at = ? WHERE seq = ?`).run(error, now, seq);
}

/** Begins anew, as if it had just been written: its age counts from now. */
export function revive(db: Database, seq: number, now: number): boolean {
  const { changes } = prepared(
    db,
    `UPDATE delivered SET state = 'queued', attempts = 0, first_attempt_at = NULL, next_attempt_at = 0, created_at = ?, updated_at = ?
     WHERE seq = ? AND state = 'dead'`,
  ).run(now, now, seq);
  return changes === 1;
}

/** The last_error of a row whose sender ended in mid-call; its updated_at is then when that call began. */
export const INTERRUPTED = 'delivery was stopped between sending it and recording that';

/** Rows that were being sent when the sender (a process, or the sender of one lane) ended: to be settled from `at` on. Their seqs. */
export function interrupted(db: Database, at: number, lane?: string): number[] {
  const which = `${OPEN} AND state = 'sending' AND lane = coalesce(?, lane)`;
  const some = prepared(db, `SELECT 1 FROM delivered WHERE ${which} LIMIT 1`).get(lane ?? null);
  if (some === undefined) return []; // no commit for each of a shard's sleeping sessions at start
  return prepared(db, `UPDATE delivered SET state = 'in_doubt', next_attempt_at = ?, last_error = ? WHERE ${which} RETURNING seq`)
    .pluck()
    .all(at, INTERRUPTED, lane ?? null) as number[];
}

// ── inbound rows ──

export function pending(db: Database): number[] {
  return prepared(db, `SELECT seq FROM messages_in WHERE status = 'pending' ORDER BY seq`).pluck().all() as number[];
}

export function inbound(db: Database, seq: number): MessageInRow | undefined {
  return prepared(db, 'SELECT * FROM messages_in WHERE seq = ?').get(seq) as MessageInRow | undefined;
}

export function inboundDone(db: Database, seq: number, tries: number): void {
  prepared(db, `UPDATE messages_in SET status = 'done', tries = ? WHERE seq = ? AND status = 'pending'`).run(tries, seq);
}

export function inboundDead(db: Database, seq: number, tries: number, error: string): void {
  prepared(db, `UPDATE messages_in SET status = 'dead', tries = ?, last_error = ? WHERE seq = ? AND status = 'pending'`).run(
    tries,
    error,
    seq,
  );
}

/** A turn with this row was cut short: when it may be tried again is what wakes its session. False: nothing new. */
export function inboundInterrupted(db: Database, seq: number, tries: number, nextTryAt: number): boolean {
  const { changes } = prepared(
    db,
    `UPDATE messages_in SET tries = ?, next_try_at = ? WHERE seq = ? AND status = 'pending' AND (tries <> ? OR next_try_at <> ?)`,
  ).run(tries, nextTryAt, seq, tries, nextTryAt);
  return changes === 1;
}

// ── the host's own words ──

export interface NewNotice {
  readonly id: string;
  readonly channel: string;
  readonly chat: string;
  readonly thread: string | null;
  readonly text: string;
  readonly now: number;
}

/** To people. Its seq, or undefined when this id was said before. */
export function addNotice(db: Database, { id, channel, chat, thread, text, now }: NewNotice): number | undefined {
  return prepared(
    db,
    `INSERT INTO notices (seq, id, channel, chat, thread, content, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO NOTHING RETURNING seq`,
  )
    .pluck()
    .get(nextSeq(db), id, channel, chat, thread, JSON.stringify({ text } satisfies ChatContent), now) as number | undefined;
}

export function notice(db: Database, seq: number): NoticeRow | undefined {
  return prepared(db, 'SELECT * FROM notices WHERE seq = ?').get(seq) as NoticeRow | undefined;
}

/** To the agent, silently: it reads it with the next message. Its seq, or undefined when this event id was written before. */
export function addSystemRow(db: Database, eventId: string, text: string, now: number): number | undefined {
  return prepared(
    db,
    `INSERT INTO messages_in (seq, event_id, lane, kind, trigger, content, created_at) VALUES (?, ?, 'control', 'system', 0, ?, ?)
     ON CONFLICT (event_id) DO NOTHING RETURNING seq`,
  )
    .pluck()
    .get(nextSeq(db), eventId, JSON.stringify({ text } satisfies InboundContent), now) as number | undefined;
}

/** How many sentences about dead letters were written since: [to the agent, to people]. */
export function toldSince(db: Database, since: number): readonly [agent: number, people: number] {
  const row = prepared(
    db,
    `SELECT (SELECT count(*) FROM messages_in WHERE event_id >= 'dead/' AND event_id < 'dead0' AND created_at > @since) AS agent,
            (SELECT count(*) FROM notices WHERE id >= 'dead/' AND id < 'dead0' AND created_at > @since) AS people`,
  ).get({ since }) as { agent: number; people: number };
  return [row.agent, row.people];
}
