/** What the agent's own file says of a turn. Its word decides about nothing but messages of its own. */
import { isPassing, readOutbound } from '@dovecote/proto';
import type { Cell } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';
import { find } from '../outbox/ledger.ts';

/** Answers of one turn that are looked at. */
const MAX_ROWS = 200;

/**
 * running: it goes on, in this or in a later Pod. answering: a message of it has not been delivered yet. over: nothing of it will come.
 * unknown: the file cannot be read now.
 */
export type TurnState = 'running' | 'answering' | 'over' | 'unknown';

export function turnState(cell: Cell, turn: string): TurnState {
  try {
    const db = cell.outbound();
    if (db === undefined) return 'over';
    return readOutbound(db, () => {
      if (prepared(db, `SELECT state = 'running' FROM turns WHERE id = ?`).pluck().get(turn) === 1) return 'running';
      const sql = `SELECT seq FROM messages_out WHERE id >= ? || '/' AND id < ? || '0' AND kind = 'chat' LIMIT ${MAX_ROWS}`;
      const seqs = prepared(db, sql).pluck().all(turn, turn) as number[];
      const settled = (seq: number): boolean => ['delivered', 'dead'].includes(find(cell.inbound, seq)?.state ?? '');
      return seqs.every(settled) ? 'over' : 'answering';
    });
  } catch (e) {
    if (isPassing(e)) return 'unknown';
    return 'over'; // a file that is at fault is not read: nothing of it is delivered either
  }
}
