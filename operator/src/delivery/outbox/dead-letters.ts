/** Rows that will not be delivered: who is told, where they are listed, and how a person has them tried again. */
import type { DeliveredRow, MessageInRow } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { nextSeq } from '../cells/next-seq.ts';
import { prepared } from '../cells/statements.ts';
import { type Address, laneOf, NOWHERE, parseLane } from './address.ts';
import type { Effects } from './effects.ts';
import * as ledger from './ledger.ts';
import type { OutboxLimits } from './outbox-limits.ts';

const HOUR_MS = 3_600_000;

interface Context {
  readonly session: string;
  readonly db: Database;
  readonly limits: OutboxLimits;
  readonly now: number;
  readonly fx: Effects;
}

export interface SetAside {
  readonly row: Pick<DeliveredRow, 'seq' | 'lane'>;
  /** what people call it, such as "message"; undefined: people need not know, only the agent */
  readonly noun: string | undefined;
  /** reads "… could not be delivered: <reason>" */
  readonly reason: string;
  /** nothing can be sent to that chat, so that saying so there is no use */
  readonly ofChat: boolean;
}

/** A row of the ledger is given up. Inside the caller's transaction. */
export function setAside(context: Context, { row, noun, reason, ofChat }: SetAside): void {
  const { db, now, fx, session } = context;
  ledger.dead(db, row.seq, reason, now);
  fx.dead.push({ seq: row.seq, reason });
  fx.changed.add(row.seq);
  fx.lanes.add(row.lane); // the next row of the lane may go
  if (row.seq % 2 === 0) return; // our own notice: a notice about it would fail alike
  const id = `dead/${session}/${row.seq}`;
  tellAgent(context, id, `Your message ${row.seq} could not be delivered: ${reason}.`);
  if (noun !== undefined && !ofChat && row.lane !== NOWHERE)
    tellPeople(context, id, parseLane(row.lane), `A ${noun} could not be delivered here: ${reason}.`);
}

/** The runner gave an inbound row up. Inside the caller's transaction. */
export function setInboundAside(context: Context, row: MessageInRow, tries: number, error: string): void {
  const { db, fx, session } = context;
  ledger.inboundDead(db, row.seq, tries, error);
  fx.dead.push({ seq: row.seq, reason: error });
  fx.changed.add(row.seq);
  const id = `dead/${session}/${row.seq}`;
  tellAgent(context, id, `Message ${row.seq} was set aside unanswered after ${tries} ${tries === 1 ? 'try' : 'tries'}: ${error}.`);
  const { kind, trigger, channel, chat, thread } = row;
  if (kind !== 'chat' || trigger !== 1 || channel === null || chat === null) return;
  // The error itself is for those who run the agent; it is listed with the dead letter.
  tellPeople(context, id, { channel, chat, thread }, 'I could not work on your message and have set it aside. You can send it again.');
}

function tellAgent({ db, limits, now, fx }: Context, id: string, text: string): void {
  const [told] = ledger.toldSince(db, now - HOUR_MS);
  if (told >= limits.tellAgentPerHour) return; // an agent that only writes nonsense would fill our file with sentences about it
  const seq = ledger.addSystemRow(db, id, text, now);
  if (seq !== undefined) fx.changed.add(seq);
}

function tellPeople(context: Context, id: string, address: Address, text: string): void {
  const { db, limits, now } = context;
  const [, told] = ledger.toldSince(db, now - HOUR_MS);
  if (told < limits.tellUserPerHour) addNotice(context, { id, ...address, text });
}

/** Says something to people, once per id. Inside the caller's transaction. */
export function addNotice(
  { db, session, now, fx }: Omit<Context, 'limits'>,
  notice: Address & { readonly id: string; readonly text: string },
): boolean {
  const seq = ledger.addNotice(db, { ...notice, now });
  if (seq === undefined) return false;
  const lane = laneOf(notice);
  ledger.queue(db, { session, seq, lane, notBefore: 0, now });
  fx.changed.add(seq);
  fx.lanes.add(lane);
  return true;
}

export interface DeadLetter {
  readonly seq: number;
  readonly direction: 'in' | 'out';
  readonly channel: string;
  readonly chat: string;
  readonly thread: string;
  readonly lastError: string;
  readonly attempts: number;
  readonly createdAt: number;
  /** 0 for an inbound one: it is not recorded */
  readonly deadAt: number;
}

/** Both directions, newest first. */
export function listDeadLetters(db: Database, limit: number): DeadLetter[] {
  const out = prepared(db, `SELECT * FROM delivered WHERE state = 'dead' ORDER BY seq DESC LIMIT ?`).all(limit) as DeliveredRow[];
  const inbound = prepared(db, `SELECT * FROM messages_in WHERE status = 'dead' ORDER BY seq DESC LIMIT ?`).all(limit) as MessageInRow[];
  return [
    ...out.map((row): DeadLetter => {
      const { channel, chat, thread } = parseLane(row.lane);
      return {
        seq: row.seq,
        direction: 'out',
        channel,
        chat,
        thread: thread ?? '',
        lastError: row.last_error ?? '',
        attempts: row.attempts,
        createdAt: row.created_at,
        deadAt: row.updated_at,
      };
    }),
    ...inbound.map(
      (row): DeadLetter => ({
        seq: row.seq,
        direction: 'in',
        channel: row.channel ?? '',
        chat: row.chat ?? '',
        thread: row.thread ?? '',
        lastError: row.last_error ?? '',
        attempts: row.tries,
        createdAt: row.created_at,
        deadAt: 0,
      }),
    ),
  ]
    .sort((a, b) => b.seq - a.seq)
    .slice(0, limit);
}

/**
 * Has a dead letter tried again, as new. An outbound one is queued; an inbound one, which its runner has finished with for good, is
 * written once more under a new seq, and the old one counts as done. Answers that seq, or undefined when no such row is dead.
 */
export function retryDeadLetter({ db, now, fx, session }: Omit<Context, 'limits'>, seq: number): number | undefined {
  if (ledger.revive(db, seq, now)) {
    const lane = ledger.find(db, seq)?.lane;
    if (lane !== undefined) fx.lanes.add(lane);
    fx.changed.add(seq);
    return seq;
  }
  const old = prepared(db, `SELECT * FROM messages_in WHERE seq = ? AND status = 'dead'`).get(seq) as MessageInRow | undefined;
  if (old === undefined) return undefined;
  const again = nextSeq(db);
  prepared(
    db,
    `INSERT INTO messages_in (seq, event_id, lane, kind, trigger, channel, chat, thread, sender, sender_name, platform_message_id, content,
       reply_to, reason, traceparent, created_at)
     SELECT ?, ?, lane, kind, trigger, channel, chat, thread, sender, sender_name, platform_message_id, content,
       reply_to, reason, traceparent, ? FROM messages_in WHERE seq = ?`,
  ).run(again, `retry/${session}/${seq}`, now, seq);
  prepared(db, `UPDATE messages_in SET status = 'done' WHERE seq = ?`).run(seq);
  fx.changed.add(seq).add(again);
  return again;
}
