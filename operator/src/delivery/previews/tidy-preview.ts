/** A preview that no answer took the place of is removed; of one that nobody knows it is found out whether it exists. */
import type { PreviewRow } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import type { Counter } from 'prom-client';
import type { Clock } from '../../lib/clock.ts';
import type { Cells } from '../cells/cells.ts';
import * as rows from '../outbox/preview-rows.ts';
import type { PreviewCalls } from './preview-calls.ts';
import { turnState } from './turn-state.ts';

/** A call that was under way at a crash may take effect after it. */
export const SETTLE_AFTER_MS = 10_000;
/** What could not be removed for so long stays, and rows of turns that are long over go. */
export const GIVE_UP_MS = 86_400_000;

/** By which Settle finds it. */
export function previewKey(session: string, turn: string): string {
  return `${session}/${turn}/preview`;
}

export interface TidyDeps {
  readonly cells: Pick<Cells, 'open' | 'has'>;
  readonly clock: Clock;
  readonly calls: PreviewCalls;
  /** by outcome: settled, removed */
  readonly outcomes: Pick<Counter<'outcome'>, 'inc'>;
}

/** True: nothing more is to be done about it. */
export async function tidyPreview(
  { cells, clock, calls, outcomes }: TidyDeps,
  session: string,
  row: PreviewRow,
  signal: AbortSignal,
): Promise<boolean> {
  const { channel, chat, turn_id: turn } = row;
  const thread = row.thread ?? '';
  const idempotencyKey = previewKey(session, turn);
  const givenUp = clock.now() - row.created_at >= GIVE_UP_MS;
  let messageId = row.platform_message_id ?? '';
  if (row.state === 'posting') {
    if (clock.now() - row.updated_at < SETTLE_AFTER_MS) return false;
    const found = await calls.settle({ channel, chat, thread, idempotencyKey }, row.created_at, signal);
    if (signal.aborted || (found === 'later' && !givenUp)) return false;
    // Where the platform cannot tell, a message that was made and never recorded stays as it is.
    if (typeof found === 'string') return gone(cells, session, turn, clock.now());
    outcomes.inc({ outcome: 'settled' });
    commit(cells, session, (db) => rows.shown(db, turn, found.messageId, clock.now()));
    messageId = found.messageId;
  }
  if (!cells.has(session)) return true;
  const state = turnState(cells.open(session), turn);
  if (state !== 'over' && !givenUp) return false;
  if (rows.find(cells.open(session).inbound, turn)?.state !== 'shown') return true; // its answer took it meanwhile
  const outcome = await calls.preview({ channel, chat, thread, replyToMessageId: '', messageId, text: '', idempotencyKey }, signal);
  if (signal.aborted || (outcome.type === 'failed' && !givenUp)) return false;
  outcomes.inc({ outcome: 'removed' });
  return gone(cells, session, turn, clock.now());
}

function gone(cells: Pick<Cells, 'open' | 'has'>, session: string, turn: string, now: number): true {
  commit(cells, session, (db) => rows.over(db, turn, 'gone', now));
  return true;
}

/** Nothing, when the session was removed while a call was under way. */
function commit(cells: Pick<Cells, 'open' | 'has'>, session: string, work: (db: Database) => void): void {
  if (!cells.has(session)) return;
  const { inbound } = cells.open(session);
  inbound.transaction(() => work(inbound)).immediate();
}
