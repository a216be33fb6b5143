import type { MessageInRow } from '@dovecote/proto';
import type { Cell } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';

/** The inbound row that a turn answers most likely: the last that asked for one. 0: none did, and the session's own chat is meant. */
export function askedSeq({ inbound }: Pick<Cell, 'inbound'>): number {
  const sql = `SELECT seq FROM messages_in WHERE trigger = 1 AND kind = 'chat' AND channel IS NOT NULL ORDER BY seq DESC LIMIT 1`;
  return (prepared(inbound, sql).get() as Pick<MessageInRow, 'seq'> | undefined)?.seq ?? 0;
}
