import { setImmediate as nextTurn } from 'node:timers/promises';
import type { sessions } from '@dovecote/proto';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Cell, Cells } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';
import { type DeadLetter, listDeadLetters } from '../outbox/dead-letters.ts';
import { type Written, writtenOf } from './conversation.ts';

/** Of one session, or of all, newest first within each; a cell that cannot be read is left out. */
export async function deadLetters(
  { cells, log }: { readonly cells: Cells; readonly log: Log },
  request: sessions.ListDeadLettersRequest,
  signal: AbortSignal,
): Promise<sessions.ListDeadLettersResponse> {
  const limit = request.limit > 0 ? Math.min(request.limit, 1_000) : 100;
  const found: sessions.DeadLetter[] = [];
  for (const [n, session] of (request.session === '' ? cells.list() : [request.session]).entries()) {
    if (found.length >= limit) break;
    if (n % 16 === 15) await nextTurn(undefined, { signal }); // messages first
    if (!cells.has(session)) continue;
    try {
      const cell = cells.open(session);
      for (const letter of listDeadLetters(cell.inbound, limit - found.length)) found.push(described(cell, letter));
    } catch (e) {
      log.warn({ session, err: toError(e) }, 'dead letters of a session could not be read');
    }
  }
  return { deadLetters: found };
}

function described(cell: Cell, letter: DeadLetter): sessions.DeadLetter {
  const inbound = 'SELECT kind, content FROM messages_in WHERE seq = ?';
  const { kind, content } =
    letter.direction === 'in' ? (prepared(cell.inbound, inbound).get(letter.seq) as Written) : writtenOf(cell, letter.seq);
  return {
    id: `${cell.session}/${letter.seq}`,
    session: cell.session,
    direction: letter.direction,
    channel: letter.channel,
    chat: letter.chat,
    thread: letter.thread,
    kind,
    content,
    lastError: letter.lastError,
    attempts: letter.attempts,
    createdAtMs: letter.createdAt,
    deadAtMs: letter.deadAt,
  };
}
