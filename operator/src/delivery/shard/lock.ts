import { join } from 'node:path';
import Sqlite, { type Database } from 'better-sqlite3';
import { sqliteCode } from './sqlite-code.ts';

/** A handle that nobody refers to is closed by the garbage collector, and its lock is gone: the one reason for this module's state. */
const held = new Set<Database>();

/**
 * Takes the shard for this process: an exclusive transaction on `shard.lock` that lasts until `release` or the process's end,
 * because the kernel drops a dead process's file locks. Throws at once, with one sentence, when another process has it.
 */
export function lockShard(root: string, shard: string): { release(): void } {
  const file = join(root, 'shard.lock');
  const db = new Sqlite(file, { timeout: 0 });
  try {
    db.pragma('journal_mode = MEMORY'); // nothing is ever written, so nothing needs recovery
    db.exec('BEGIN EXCLUSIVE');
  } catch (e) {
    db.close();
    if (sqliteCode(e).startsWith('SQLITE_BUSY'))
      throw new Error(`cannot start delivery for shard ${shard}: another process holds ${file}`, { cause: e });
    throw e;
  }
  held.add(db);
  return {
    release: () => {
      held.delete(db);
      db.close();
    },
  };
}
