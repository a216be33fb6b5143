/** What lies on the shard's volume, opened by the one process that has it: index, cells, drops, usage. */
import { join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import { closeAll } from '../lib/close-all.ts';
import type { Log } from '../lib/log.ts';
import { type Cells, ShardCells } from './cells/cells.ts';
import { makeFolder } from './cells/durable.ts';
import { Drops } from './inbox/drops.ts';
import { CommitLine } from './inbox/group-commit.ts';
import { openIndex, type ShardIndex } from './shard/index-db.ts';
import { lockShard } from './shard/lock.ts';
import { rebuildIndex } from './shard/rebuild.ts';
import { UsageLedger } from './usage/ledger.ts';
import { openUsageFile } from './usage/usage-file.ts';

export interface VolumeDeps {
  readonly root: string;
  readonly shard: string;
  readonly maxOpenCells: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface Volume {
  /** folder of files that no message has claimed yet */
  readonly staging: string;
  readonly cells: Cells;
  readonly index: ShardIndex;
  /** whose turn it is to commit: messages, drops, usage */
  readonly line: CommitLine;
  readonly drops: Drops;
  readonly ledger: UsageLedger;
  /** Gives the shard up last. */
  close(): Promise<void>;
}

/** Takes the shard and brings its index in line with its cells. Throws one sentence when another process has the shard. */
export async function openVolume({ root, shard, maxOpenCells, clock, log, signal }: VolumeDeps): Promise<Volume> {
  const staging = join(root, 'incoming');
  makeFolder(staging);
  const lock = lockShard(root, shard);
  const undo: (() => void)[] = [() => lock.release()];
  const close = (): Promise<void> => closeAll(undo.splice(0).reverse());
  try {
    const index = openIndex(root, log);
    undo.push(() => index.close());
    const line = new CommitLine();
    const drops = new Drops(root, line);
    undo.push(() => drops.close());
    const ledger = new UsageLedger(openUsageFile(root, log, clock.now()), line);
    undo.push(() => ledger.close());
    const cells = new ShardCells({ root, maxOpen: maxOpenCells });
    undo.push(() => cells.close());
    await rebuildIndex({ cells, index, log, everything: index.unclean, signal });
    return { staging, cells, index, line, drops, ledger, close };
  } catch (e) {
    await close();
    throw e;
  }
}
