/** What people call a conversation: the first line said in it, until its model has found a better name. */
import { STATE_TITLE } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { prepared } from './statements.ts';

const TITLE_CHARS = 80;
/** A longer value is not the runner's, and is not fetched. */
const STATE_BYTES = 4_096;

/** In the transaction that stores the message. A conversation that has a title keeps it. */
export function titleByFirstLine(inbound: Database, text: string): void {
  const title = plainLine(text);
  if (title !== '') prepared(inbound, 'UPDATE meta SET title = ? WHERE title IS NULL').run(title);
}

export function setTitle(inbound: Database, title: string): void {
  prepared(inbound, 'UPDATE meta SET title = ?').run(title);
}

export function titleOf(inbound: Database): string | null {
  return prepared(inbound, 'SELECT title FROM meta').pluck().get() as string | null;
}

/** What the model calls it. Inside readOutbound; the file is the agent's, so it may say anything. undefined: nothing that could be a title. */
export function modelTitle(outbound: Database): string | undefined {
  const sql = `SELECT value FROM state WHERE key = ? AND typeof(value) = 'text' AND octet_length(value) <= ${STATE_BYTES}`;
  const value = prepared(outbound, sql).pluck().get(STATE_TITLE);
  if (typeof value !== 'string') return undefined;
  try {
    const { text } = JSON.parse(value) as { text?: unknown };
    return typeof text === 'string' && plainLine(text) !== '' ? plainLine(text) : undefined;
  } catch {
    return undefined; // no JSON, or no object
  }
}

/** The first line that says something, cut for a list. */
function plainLine(text: string): string {
  const line = text
    .split('\n')
    .map((part) => part.replace(/\p{Cc}|[\u202A-\u202E\u2066-\u2069]/gu, '').trim())
    .find((part) => part !== '');
  const characters = [...(line ?? '')];
  return characters.length <= TITLE_CHARS
    ? characters.join('')
    : `${characters
        .slice(0, TITLE_CHARS - 1)
        .join('')
        .trimEnd()}…`;
}
