import type { MessageInRow, RoutingRow } from '@dovecote/proto';
import type { Cell } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';

/** Whom to tell, and about which message: the first that waits, else whoever the session answers. undefined: nobody listens. */
export function whoWaits(
  cell: Cell,
): { readonly seq: number; readonly channel: string; readonly chat: string; readonly thread?: string } | undefined {
  const waiting = prepared(
    cell.inbound,
    `SELECT seq, channel, chat, thread FROM messages_in
     WHERE status = 'pending' AND trigger = 1 AND channel IS NOT NULL AND chat IS NOT NULL ORDER BY seq LIMIT 1`,
  ).get() as Pick<MessageInRow, 'seq' | 'channel' | 'chat' | 'thread'> | undefined;
  if (waiting !== undefined && waiting.channel !== null && waiting.chat !== null)
    return { seq: waiting.seq, channel: waiting.channel, chat: waiting.chat, ...(waiting.thread !== null && { thread: waiting.thread }) };
  const routing = prepared(cell.inbound, 'SELECT channel, chat, thread FROM routing').get() as RoutingRow | undefined;
  if (routing === undefined) return undefined;
  return { seq: 0, channel: routing.channel, chat: routing.chat, ...(routing.thread !== null && { thread: routing.thread }) };
}
