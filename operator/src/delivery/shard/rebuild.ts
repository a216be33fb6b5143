import { setImmediate as nextTurn } from 'node:timers/promises';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Cells } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';
import { factsOf } from './facts.ts';
import type { ShardIndex } from './index-db.ts';

/**
 * Brings the index in line with the cells: all of them after an unclean end, else those that one side has and the other lacks.
 * A cell that cannot be read is left out with a log line; it is looked at again by each sweep.
 */
export async function rebuildIndex(deps: {
  cells: Cells;
  index: ShardIndex;
  log: Log;
  everything: boolean;
  signal: AbortSignal;
}): Promise<void> {
  const { cells, index, log } = deps;
  const found = new Set(cells.list().filter((session) => cells.has(session)));
  const known = new Set(index.names());
  for (const session of known) if (!found.has(session)) index.remove(session);
  let n = 0;
  for (const session of found) {
    if (known.has(session) && !deps.everything) continue;
    try {
      reindex(cells, index, session);
    } catch (e) {
      log.error({ session, err: toError(e) }, 'cell cannot be read and is left out of the index');
    }
    n += 1;
    if (n % 32 === 0) await nextTurn(undefined, { signal: deps.signal }); // thousands of cells must not keep probes from being answered
  }
  if (n > 0) log.info({ cells: n, unclean: deps.everything }, 'index was brought in line with the cells');
}

/** One cell's rows into the index. Throws CellMissingError for a half-made one. */
export function reindex(cells: Cells, index: ShardIndex, session: string): void {
  const { meta, inbound } = cells.open(session);
  index.add(meta);
  index.setFacts(session, factsOf(inbound));
  const chats = prepared(
    inbound,
    'SELECT DISTINCT channel, chat FROM messages_in WHERE channel IS NOT NULL AND chat IS NOT NULL UNION SELECT channel, chat FROM notices',
  ).all() as { channel: string; chat: string }[];
  for (const { channel, chat } of chats) index.addChat(session, channel, chat);
}
