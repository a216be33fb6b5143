import type { Database } from 'better-sqlite3';
import { prepared } from './statements.ts';

/**
 * The next number for a row of ours (messages_in or notices). Even: odd ones are the runner's, so that one number names a row
 * over both files. Only inside the transaction that inserts it, else two rows may ask for the same one.
 */
export function nextSeq(inbound: Database): number {
  const sql = 'SELECT max(coalesce((SELECT max(seq) FROM messages_in), 0), coalesce((SELECT max(seq) FROM notices), 0)) + 2';
  return prepared(inbound, sql).pluck().get() as number;
}

/** The last message that a session's runner can know of; 0 before the first. */
export function highestSeq(inbound: Database): number {
  return (prepared(inbound, 'SELECT max(seq) FROM messages_in').pluck().get() as number | null) ?? 0;
}
