import { isPassing, readOutbound, STATE_HELD } from '@dovecote/proto';
import type { Cell } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';

/**
 * Whether the session's last runner left a turn behind. The messages of its finished steps are done, so no row of ours waits for it:
 * without this look a turn that was cut short would be finished only with the next message. `held`: it waits for somebody else until
 * later than `now` (ms since 1970), and needs no Pod for that. A file that is at fault says none.
 */
export function unfinishedTurn(cell: Cell, now: number): 'none' | 'held' | 'due' {
  try {
    const db = cell.outbound();
    if (db === undefined) return 'none';
    return readOutbound(db, () => {
      if (prepared(db, "SELECT EXISTS (SELECT 1 FROM turns WHERE state = 'running')").pluck().get() !== 1) return 'none';
      const until: unknown = prepared(db, "SELECT json_extract(value, '$.until') FROM state WHERE key = ?").pluck().get(STATE_HELD);
      return typeof until === 'number' && until > now ? 'held' : 'due';
    });
  } catch (e) {
    return isPassing(e) ? 'due' : 'none'; // someone writes: look again
  }
}
