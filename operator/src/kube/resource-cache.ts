import { toError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { InvalidObject, KubeObject, ResourceList, WatchEvent } from './store.ts';

export interface Change<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** What is now; for DELETED, the last that was known. */
  readonly object: T;
  /** What was in the cache before: absent for ADDED. */
  readonly previous?: T;
}

/** Keys under which an object is found by `byIndex`. Pure, cheap, never throws. */
export type Index<T> = (object: T) => readonly string[];

/**
 * The last known state of one kind, by name, filled by a Reflector. What it answers is as old as the watch is slow: act on it
 * only once it has synced, and read the API before destroying anything.
 *
 * - A name that comes back with another uid is a DELETED and an ADDED, never a MODIFIED.
 * - With a selector, an object that stops matching is DELETED here though it exists in the cluster.
 * - An object that cannot be parsed is in `invalid()`. If an older, readable version of it was known, that one stays: to take it
 *   out would tell reconcilers that it is gone.
 */
export class ResourceCache<T extends KubeObject, I extends string = never> {
  readonly #objects = new Map<string, T>();
  readonly #invalid = new Map<string, InvalidObject>();
  readonly #indexes: readonly { readonly keysOf: Index<T>; readonly names: Map<string, Set<string>>; readonly index: I }[];
  readonly #listeners = new Set<(change: Change<T>) => void>();
  readonly #firstSync = Promise.withResolvers<void>();
  readonly #now: () => number;
  readonly #log: Log;
  #hasSynced = false;
  #lastEventAt = Number.NEGATIVE_INFINITY;

  constructor(deps: {
    readonly log: Log;
    readonly clock: { now(): number };
    readonly indexes?: Readonly<Record<I, Index<T>>>;
  }) {
    this.#log = deps.log;
    this.#now = () => deps.clock.now();
    const indexes = Object.entries(deps.indexes ?? {}) as [I, Index<T>][];
    this.#indexes = indexes.map(([index, keysOf]) => ({ index, keysOf, names: new Map() }));
  }

  get(name: string): T | undefined {
    return this.#objects.get(name);
  }

  list(): readonly T[] {
    return [...this.#objects.values()];
  }

  get size(): number {
    return this.#objects.size;
  }

  /** In no particular order. */
  byIndex(index: I, key: string): readonly T[] {
    const names = this.#indexes.find((i) => i.index === index)?.names.get(key) ?? [];
    return [...names].flatMap((name) => this.#objects.get(name) ?? []);
  }

  /** Objects that exist in the cluster and that our types cannot read. */
  invalid(): readonly InvalidObject[] {
    return [...this.#invalid.values()];
  }

  /** True once a whole list has been seen. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Resolves once a whole list has been seen. Rejects with the signal's reason. */
  async synced(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await Promise.race([this.#firstSync.promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Since the last list, event or bookmark: Infinity before the first. A watch in health has a bookmark each minute. */
  lastEventAgeMs(): number {
    return this.#now() - this.#lastEventAt;
  }

  /** Called synchronously after each change: put a key into a queue and return. What it throws is logged and goes no further. */
  onChange(listener: (change: Change<T>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** For the Reflector. What is not in the list is gone: changes missed while no watch was open are told as such. */
  replace(list: Pick<ResourceList<T>, 'items' | 'invalid'>): void {
    this.#lastEventAt = this.#now();
    const unreadable = new Map(list.invalid.map((object) => [object.name, object]));
    const listed = new Map(list.items.map((object) => [object.metadata.name, object]));
    for (const name of [...this.#invalid.keys()]) if (!unreadable.has(name)) this.#invalid.delete(name);
    for (const [name, object] of this.#objects) {
      const broken = unreadable.get(name);
      if (!listed.has(name) && broken?.uid !== object.metadata.uid) this.#remove(object);
    }
    for (const object of unreadable.values()) this.#setInvalid(object);
    for (const object of listed.values()) this.#set(object);
    if (!this.#hasSynced) {
      this.#hasSynced = true;
      this.#firstSync.resolve();
    }
  }

  /** For the Reflector. */
  apply(event: WatchEvent<T>): void {
    this.#lastEventAt = this.#now();
    switch (event.type) {
      case 'BOOKMARK':
        return;
      case 'INVALID': {
        if (event.change !== 'DELETED') {
          this.#setInvalid(event.object);
          return;
        }
        this.#invalid.delete(event.object.name);
        const last = this.#objects.get(event.object.name);
        if (last !== undefined) this.#remove(last);
        return;
      }
      case 'DELETED': {
        const { name } = event.object.metadata;
        this.#invalid.delete(name);
        if (this.#objects.has(name)) this.#remove(event.object);
        return;
      }
      default:
        this.#set(event.object);
    }
  }

  #set(object: T): void {
    const { name, uid, resourceVersion } = object.metadata;
    this.#invalid.delete(name);
    let previous = this.#objects.get(name);
    if (previous?.metadata.resourceVersion === resourceVersion && previous.metadata.uid === uid) return;
    if (previous !== undefined && previous.metadata.uid !== uid) {
      this.#remove(previous);
      previous = undefined;
    }
    if (previous !== undefined) this.#unindex(previous);
    this.#objects.set(name, object);
    this.#index(object);
    this.#tell(previous === undefined ? { type: 'ADDED', object } : { type: 'MODIFIED', object, previous });
  }

  #remove(object: T): void {
    const previous = this.#objects.get(object.metadata.name);
    if (previous === undefined) return;
    this.#unindex(previous);
    this.#objects.delete(object.metadata.name);
    this.#tell({ type: 'DELETED', object, previous });
  }

  #setInvalid(object: InvalidObject): void {
    const known = this.#invalid.get(object.name);
    this.#invalid.set(object.name, object);
    const readable = this.#objects.get(object.name);
    if (readable !== undefined && readable.metadata.uid !== object.uid) this.#remove(readable);
    if (known?.resourceVersion === object.resourceVersion) return;
    this.#log.error({ name: object.name, uid: object.uid, err: object.error }, 'object in the cluster cannot be read');
  }

  #index(object: T): void {
    for (const { keysOf, names } of this.#indexes) {
      for (const key of keysOf(object)) {
        const set = names.get(key);
        if (set === undefined) names.set(key, new Set([object.metadata.name]));
        else set.add(object.metadata.name);
      }
    }
  }

  #unindex(object: T): void {
    for (const { keysOf, names } of this.#indexes) {
      for (const key of keysOf(object)) {
        const set = names.get(key);
        set?.delete(object.metadata.name);
        if (set?.size === 0) names.delete(key); // keys that are never used again would pile up
      }
    }
  }

  #tell(change: Change<T>): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (thrown) {
        // One listener's bug must not keep the change from the others, nor stop the watch.
        this.#log.error({ name: change.object.metadata.name, err: toError(thrown) }, 'listener of a cache failed');
      }
    }
  }
}
