import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { objectAt } from '../json.ts';
import type { Database, ObjectKey } from './database.ts';
import { ownerUids } from './metadata.ts';

/** Deletes objects whose owners are all gone: in the background, a moment after the last owner went. */
export class GarbageCollector {
  readonly #db: Database;
  readonly #delete: (key: ObjectKey) => void;
  readonly #log: Log;
  readonly #gone = new Set<string>();
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(db: Database, remove: (key: ObjectKey) => void, log: Log) {
    this.#db = db;
    this.#delete = remove;
    this.#log = log;
  }

  /** Of everything: a process that ended between an owner's end and this has forgotten whom it had to look for. */
  sweep(): void {
    for (const key of this.#db.allOwned()) {
      const stored = this.#db.read(key);
      for (const uid of stored === undefined ? [] : ownerUids(stored.body)) if (!this.#db.existsUid(uid)) this.#gone.add(uid);
    }
    this.wake();
  }

  /** Called within a transaction: looked at after it, on wake(). */
  orphaned(ownerUid: string): void {
    this.#gone.add(ownerUid);
  }

  wake(): void {
    if (this.#gone.size === 0 || this.#closed) return;
    this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    // Not in the caller's own step: it gets its answer before the dependants go, as in a cluster.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#gone.size > 0 && !this.#closed) {
      const uids = [...this.#gone];
      this.#gone.clear();
      for (const uid of uids) this.#collect(uid);
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#running = undefined;
  }

  #collect(ownerUid: string): void {
    if (this.#db.existsUid(ownerUid)) return;
    for (const key of this.#db.ownedBy(ownerUid)) {
      try {
        const stored = this.#db.read(key);
        if (stored === undefined || ownerUids(stored.body).some((uid) => this.#db.existsUid(uid))) continue;
        if (objectAt(stored.body, 'metadata')['deletionTimestamp'] === undefined) this.#delete(key);
      } catch (thrown) {
        // It stays until the next start's sweep; the others must go all the same.
        this.#log.error({ ...key, err: toError(thrown) }, 'cannot delete an object whose owner is gone');
      }
    }
  }
}
