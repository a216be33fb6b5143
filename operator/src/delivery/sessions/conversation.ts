/** A session's conversation as its chat shows it: inbound rows, and outbound rows once they are delivered or dead. */
import { type DeliveredRow, isPassing, type MessageInRow, readOutbound, type sessions } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { chatScope } from '../../lib/scope.ts';
import type { Cell } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';
import type { Position } from './cursor.ts';

/** A message, without the cursor that only the reader of one or of many sessions can make. */
export type Shown = Omit<sessions.ChatMessage, 'cursor'>;

export interface Page {
  /** each with the position behind it; `message` absent: a row that is not shown, such as one of another chat */
  readonly steps: readonly Taken[];
}

/** Only messages of this chat, whatever their thread. */
export interface ChatFilter {
  readonly channel: string;
  readonly chat: string;
}

const MAX_CONTENT_BYTES = 1024 * 1024;
/** So many unsettled rows of one session a cursor can name; of more, the newest wait to be shown. */
const MAX_OPEN = 200;

/**
 * What comes behind `position`, oldest first, at most about `limit` rows; an empty page means nothing is new. Throws what
 * `Cell.outbound` throws.
 */
export function readPage(cell: Cell, position: Position, limit: number, filter?: ChatFilter): Page {
  // One lock for all of it: each query alone would take its own, and look into the journal every time.
  return cell.inbound.transaction(() => pageBehind(cell, position, limit, filter))();
}

function pageBehind(cell: Cell, position: Position, limit: number, filter?: ChatFilter): Page {
  const inbound = prepared(cell.inbound, 'SELECT * FROM messages_in WHERE seq > ? ORDER BY seq LIMIT ?').all(
    position.inbound,
    limit,
  ) as MessageInRow[];
  const settledLate = openRows(cell.inbound, position.open);
  const runner = prepared(cell.inbound, 'SELECT * FROM delivered WHERE seq > ? AND seq % 2 = 1 ORDER BY seq LIMIT ?').all(
    position.runner,
    limit,
  );
  const host = prepared(
    cell.inbound,
    'SELECT delivered.* FROM notices JOIN delivered USING (seq) WHERE notices.seq > ? ORDER BY notices.seq LIMIT ?',
  ).all(position.host, limit);
  const lines: Step[][] = [
    settledLate.map((row) => ({
      at: 0, // it is late already
      take: (before) => ({ ...shownOut(cell, row, filter), after: { ...before, open: before.open.filter((seq) => seq !== row.seq) } }),
    })),
    inbound.map((row) => ({
      at: row.created_at,
      take: (before) => ({ ...shownIn(cell, row, filter), after: { ...before, inbound: row.seq } }),
    })),
    (runner as DeliveredRow[]).map((row) => ledgerStep(cell, row, filter, (before) => ({ ...before, runner: row.seq }))),
    (host as DeliveredRow[]).map((row) => ledgerStep(cell, row, filter, (before) => ({ ...before, host: row.seq }))),
  ];
  const steps: Taken[] = [];
  let at = position;
  while (steps.length < limit) {
    const taken = earliest(lines)?.take(at);
    if (taken === undefined || taken.after.open.length > Math.max(MAX_OPEN, at.open.length)) break;
    at = taken.after;
    steps.push(taken);
  }
  return { steps };
}

interface Taken {
  readonly message?: Shown;
  readonly after: Position;
}
interface Step {
  readonly at: number;
  readonly take: (before: Position) => Taken;
}

/** Merges by time; within a line the order is seq, whatever the clock did. */
function earliest(lines: readonly Step[][]): Step | undefined {
  let best: Step[] | undefined;
  for (const line of lines) {
    const head = line[0];
    if (head !== undefined && head.at < (best?.[0]?.at ?? Number.POSITIVE_INFINITY)) best = line;
  }
  return best?.shift();
}

function ledgerStep(cell: Cell, row: DeliveredRow, filter: ChatFilter | undefined, move: (before: Position) => Position): Step {
  return {
    at: row.created_at,
    take: (before) => {
      const moved = move(before);
      if (isSettled(row)) return { ...shownOut(cell, row, filter), after: moved };
      return { after: { ...moved, open: [...before.open, row.seq] } };
    },
  };
}

function isSettled({ state }: DeliveredRow): boolean {
  return state === 'delivered' || state === 'dead';
}

function openRows(db: Database, seqs: readonly number[]): DeliveredRow[] {
  return seqs.flatMap((seq) => {
    const row = prepared(db, 'SELECT * FROM delivered WHERE seq = ?').get(seq) as DeliveredRow | undefined;
    return row !== undefined && isSettled(row) ? [row] : [];
  });
}

function shownIn(cell: Cell, row: MessageInRow, filter: ChatFilter | undefined): { message?: Shown } {
  if (filter !== undefined && (row.channel !== filter.channel || row.chat !== filter.chat)) return {};
  return {
    message: {
      session: cell.session,
      seq: row.seq,
      eventId: row.event_id,
      direction: 'in',
      kind: row.kind,
      sender: row.sender ?? '',
      senderName: row.sender_name ?? '',
      content: row.content,
      state: row.status,
      createdAtMs: row.created_at,
      platformMessageId: row.platform_message_id ?? '',
      targetMessageId: '',
    },
  };
}

/** One inbound row as it is now. */
export function inboundMessage(cell: Cell, seq: number): Shown | undefined {
  const row = prepared(cell.inbound, 'SELECT * FROM messages_in WHERE seq = ?').get(seq) as MessageInRow | undefined;
  return row === undefined ? undefined : shownIn(cell, row, undefined).message;
}

function shownOut(cell: Cell, row: DeliveredRow, filter: ChatFilter | undefined): { message?: Shown } {
  if (filter !== undefined) {
    const lane = chatScope(filter.channel, filter.chat);
    if (row.lane !== lane && !row.lane.startsWith(`${lane}/`)) return {};
    if (row.state !== 'delivered') return {}; // a chat shows what reached it
  }
  const written = writtenOf(cell, row.seq);
  if (written.kind === 'action') return {};
  return {
    message: {
      session: cell.session,
      seq: row.seq,
      eventId: '',
      direction: 'out',
      kind: written.kind,
      sender: '',
      senderName: cell.meta.agent_group,
      content: written.content,
      state: row.state,
      createdAtMs: row.created_at,
      platformMessageId: row.platform_message_id ?? '',
      targetMessageId: targetOf(cell.inbound, written),
    },
  };
}

/** Kind and content of a row of the ledger: of the host's own file, or of the agent's. Throws only what passes by itself. */
export function writtenOf(cell: Cell, seq: number): Written {
  return seq % 2 === 0 ? noticeOf(cell.inbound, seq) : outboundOf(cell, seq);
}

export interface Written {
  readonly kind: string;
  readonly content: string;
}

function noticeOf(db: Database, seq: number): Written {
  const content = prepared(db, 'SELECT content FROM notices WHERE seq = ?').pluck().get(seq);
  return { kind: 'notice', content: typeof content === 'string' ? content : '{}' };
}

/**
 * The agent owns that file: each value is looked at by type and size before it is fetched, and a file that cannot be read any more
 * leaves a gap in the text, not in the conversation. Throws only what passes by itself.
 */
function outboundOf(cell: Cell, seq: number): Written {
  const sql = `SELECT CASE WHEN typeof(kind) = 'text' AND octet_length(kind) <= 16 THEN kind END AS kind,
      CASE WHEN typeof(content) = 'text' AND octet_length(content) <= ${MAX_CONTENT_BYTES} THEN content END AS content
    FROM messages_out WHERE seq = ?`;
  try {
    const db = cell.outbound();
    if (db === undefined) return UNREADABLE;
    const row = readOutbound(db, () => prepared(db, sql).get(seq)) as { kind: string | null; content: string | null } | undefined;
    return { kind: row?.kind ?? UNREADABLE.kind, content: row?.content ?? UNREADABLE.content };
  } catch (e) {
    if (isPassing(e)) throw e;
    return UNREADABLE;
  }
}

const UNREADABLE: Written = { kind: 'chat', content: '{"text":""}' };

/** Of an edit or a reaction: the platform's id of the message it is about. */
function targetOf(db: Database, { kind, content }: Written): string {
  if (kind !== 'edit' && kind !== 'reaction') return '';
  let target: unknown;
  try {
    target = (JSON.parse(content) as { target?: unknown }).target;
  } catch {
    return '';
  }
  if (typeof target !== 'number' || !Number.isSafeInteger(target)) return '';
  const table = target % 2 === 0 ? 'messages_in' : 'delivered';
  return (prepared(db, `SELECT platform_message_id FROM ${table} WHERE seq = ?`).pluck().get(target) as string | null | undefined) ?? '';
}
