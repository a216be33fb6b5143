/**
 * What is taken out of outbound.db. The agent owns that file: nothing in it is believed because of its schema, every value is looked
 * at by type and size before its bytes are fetched, and each read is bounded in rows and bytes.
 */
import { type AckState, HostileFileError, isPassing, type OutboundKindName, SchemaSkewError } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { prepared } from '../cells/statements.ts';
import type { OutboxLimits } from './outbox-limits.ts';

/** A row of messages_out, its types checked. */
export interface OutRow {
  readonly seq: number;
  readonly id: string;
  readonly kind: OutboundKindName;
  readonly destination: string | null;
  readonly inReplyTo: number | null;
  /** undefined: longer than the limit, and not fetched */
  readonly content: string | undefined;
  readonly contentBytes: number;
  readonly deliverAfter: number;
  readonly createdAt: number;
}

/** What the runner says about one inbound row that waits. */
export interface Ack {
  readonly inSeq: number;
  readonly state: AckState;
  readonly tries: number;
  readonly nextTryAt: number;
  readonly error: string | null;
}

const KINDS: ReadonlySet<string> = new Set<OutboundKindName>(['chat', 'file', 'edit', 'reaction', 'card', 'question', 'action']);
const STATES: ReadonlySet<string> = new Set<AckState>(['processing', 'interrupted', 'done', 'failed']);
const MAX_ERROR_CHARS = 2_000;

// octet_length and typeof read a value's header only; length() of a text would fetch all of it to count its characters.
const COLUMNS = `seq,
  CASE WHEN typeof(id) = 'text' AND octet_length(id) <= 256 THEN id END AS id,
  CASE WHEN typeof(kind) = 'text' AND octet_length(kind) <= 16 THEN kind END AS kind,
  CASE WHEN typeof(destination) = 'text' AND octet_length(destination) <= 256 THEN destination END AS destination,
  typeof(destination) AS destination_type,
  CASE WHEN typeof(in_reply_to) = 'integer' THEN in_reply_to END AS in_reply_to,
  typeof(in_reply_to) AS in_reply_to_type,
  CASE WHEN typeof(deliver_after) = 'integer' THEN deliver_after END AS deliver_after,
  CASE WHEN typeof(created_at) = 'integer' THEN created_at END AS created_at,
  typeof(content) AS content_type,
  octet_length(content) AS content_bytes,
  CASE WHEN typeof(content) = 'text' AND octet_length(content) <= ? THEN content END AS content`;

/**
 * Rows above `cursor`, at most `maxRows` and about `batchBytes`, in order. Inside readOutbound. Throws HostileFileError, or SQLite's
 * errors.
 */
export function readRows(db: Database, cursor: number, maxRows: number, limits: OutboxLimits): { rows: OutRow[]; more: boolean } {
  const rows: OutRow[] = [];
  let bytes = 0;
  let last = cursor;
  const found = prepared(db, `SELECT ${COLUMNS} FROM messages_out WHERE seq > ? ORDER BY seq LIMIT ?`);
  for (const raw of found.iterate(limits.maxContentBytes, cursor, maxRows + 1)) {
    if (rows.length === maxRows || bytes > limits.batchBytes) return { rows, more: true };
    const row = checkRow(raw as Record<string, unknown>);
    // A crafted tree can hand out rows in any order, which would move the cursor back.
    if (row.seq <= last) throw new HostileFileError('cannot read outbound.db: its rows are not in order');
    last = row.seq;
    bytes += row.content === undefined ? 0 : row.contentBytes;
    rows.push(row);
  }
  return { rows, more: false };
}

/** One row again, for a later attempt. Inside readOutbound. undefined: it is gone. */
export function readRow(db: Database, seq: number, limits: OutboxLimits): OutRow | undefined {
  const raw = prepared(db, `SELECT ${COLUMNS} FROM messages_out WHERE seq = ?`).get(limits.maxContentBytes, seq);
  if (raw === undefined) return undefined;
  const row = checkRow(raw as Record<string, unknown>);
  if (row.seq !== seq) throw new HostileFileError('cannot read outbound.db: its rows are not in order');
  return row;
}

/** What the runner says about these inbound rows: what it says about others is not asked for. Inside readOutbound. */
export function readAcks(db: Database, pending: readonly number[]): Ack[] {
  if (pending.length === 0) return [];
  const asked = new Set(pending);
  const found = prepared(
    db,
    `SELECT in_seq,
       CASE WHEN typeof(state) = 'text' AND octet_length(state) <= 16 THEN state END AS state,
       CASE WHEN typeof(tries) = 'integer' THEN tries END AS tries,
       CASE WHEN typeof(next_try_at) = 'integer' THEN next_try_at END AS next_try_at,
       CASE WHEN typeof(error) = 'text' AND octet_length(error) <= 65536 THEN error END AS error
     FROM acks WHERE in_seq IN (SELECT value FROM json_each(?))`,
  ).all(JSON.stringify(pending)) as Record<string, unknown>[];
  return found.map((raw) => {
    const { in_seq: inSeq, state, error } = raw;
    if (typeof inSeq !== 'number' || !asked.delete(inSeq)) throw new HostileFileError('cannot read outbound.db: its acks are not in order');
    if (typeof state !== 'string' || !STATES.has(state)) throw bad('acks.state');
    return {
      inSeq,
      state: state as AckState,
      tries: integer(raw['tries'], 'acks.tries', 0),
      nextTryAt: integer(raw['next_try_at'], 'acks.next_try_at', 0),
      error: typeof error === 'string' ? error.slice(0, MAX_ERROR_CHARS) : null,
    };
  });
}

function checkRow(raw: Record<string, unknown>): OutRow {
  const { id, kind, destination, content } = raw;
  const seq = integer(raw['seq'], 'messages_out.seq', 1);
  // An even number is the host's: it would stand in the ledger for a notice of ours.
  if (seq % 2 !== 1) throw bad('messages_out.seq');
  if (typeof id !== 'string') throw bad('messages_out.id');
  if (typeof kind !== 'string' || !KINDS.has(kind)) throw bad('messages_out.kind');
  if (raw['destination_type'] !== 'null' && typeof destination !== 'string') throw bad('messages_out.destination');
  if (raw['content_type'] !== 'text') throw bad('messages_out.content');
  return {
    seq,
    id,
    kind: kind as OutboundKindName,
    destination: typeof destination === 'string' ? destination : null,
    inReplyTo: raw['in_reply_to_type'] === 'null' ? null : integer(raw['in_reply_to'], 'messages_out.in_reply_to', 1),
    content: typeof content === 'string' ? content : undefined,
    contentBytes: integer(raw['content_bytes'], 'messages_out.content', 0),
    deliverAfter: integer(raw['deliver_after'], 'messages_out.deliver_after', 0),
    createdAt: integer(raw['created_at'], 'messages_out.created_at', 0),
  };
}

function integer(value: unknown, field: string, min: number): number {
  // Beyond 2^53 two numbers become one.
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) throw bad(field);
  return value;
}

function bad(field: string): HostileFileError {
  return new HostileFileError(`cannot read outbound.db: ${field} has a value that no runner writes`);
}

/** Our own shortage, not the file's fault. */
const OURS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'SQLITE_NOMEM']);

/** What a failed read of outbound.db means: it passes by itself, or the file is at fault. Anything else is thrown on. */
export function classifyRead(thrown: unknown): 'passing' | { readonly fault: Error } {
  if (isPassing(thrown)) return 'passing';
  if (thrown instanceof HostileFileError || thrown instanceof SchemaSkewError) return { fault: thrown };
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? String(thrown.code) : '';
  // A damaged or crafted file (SQLITE_CORRUPT, NOTADB, IOERR), or a path that the agent spoiled (EACCES, ELOOP, ENOTDIR).
  if (!OURS.has(code) && /^(SQLITE_|E[A-Z])/.test(code))
    return { fault: new HostileFileError(`cannot read outbound.db: ${code}`, { cause: thrown }) };
  throw thrown;
}
