import { statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../lib/log.ts';
import type { Cells } from '../cells/cells.ts';
import { trashCell } from '../cells/trash.ts';
import type { ShardIndex } from '../shard/index-db.ts';

export interface OrphanDeps {
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly log: Log;
  /** how long it waits for its agent to come back, ms */
  readonly orphanMs: number;
}

/** Its age is the time without an agent: a restart of delivery does not begin it anew. */
const markOf = ({ cells }: OrphanDeps, session: string): string => join(cells.root, 'cells', session, 'orphaned');

/**
 * A sleeping cell whose agent was deleted, or made anew under the same name. It waits for a restored cluster to bring the agent back,
 * then goes into the trash, from which it can be taken back until the retention is over. `now`: ms since 1970.
 */
export function keepOrphan(deps: OrphanDeps, session: string, now: number): void {
  const { cells, index, log, orphanMs } = deps;
  const mark = markOf(deps, session);
  const since = statSync(mark, { throwIfNoEntry: false })?.mtimeMs;
  if (since === undefined) {
    writeFileSync(mark, '');
    log.warn({ session, orphanMs }, 'cell has no agent any more, it goes into the trash when none comes back in time');
  } else if (now - since >= orphanMs) {
    trashCell(cells, session, now);
    index.remove(session);
    log.warn({ session }, 'cell without an agent was put into the trash');
  }
}

/** The agent is there (again). */
export function endOrphan(deps: OrphanDeps, session: string): void {
  const mark = markOf(deps, session);
  if (statSync(mark, { throwIfNoEntry: false }) !== undefined) unlinkSync(mark);
}
