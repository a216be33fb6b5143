import { isPassing, readOutbound } from '@dovecote/proto';
import type { Cell } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';

/**
 * Whether the session's last runner left a turn behind. The messages of its finished steps are done, so no row of ours waits for it:
 * without this look a turn that was cut short would be finished only with the next message. A file that is at fault says no.
 */
export function hasUnfinishedTurn(cell: Cell): boolean {
  try {
    const db = cell.outbound();
    if (db === undefined) return false;
    return readOutbound(db, () => prepared(db, "SELECT EXISTS (SELECT 1 FROM turns WHERE state = 'running')").pluck().get()) === 1;
  } catch (e) {
    return isPassing(e); // someone writes: look again
  }
}
