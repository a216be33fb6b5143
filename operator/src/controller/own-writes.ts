import type { ResourceCache } from '../kube/resource-cache.ts';
import type { KubeObject } from '../kube/store.ts';

/** After this long the cache is believed again: what it has not shown by then was undone while nobody watched. */
const KEEP_MS = 10_000;

/**
 * The cache, as new as our own last writes. Between a write and the event that tells of it, a pass would decide on what was before
 * and write the same again. Memory that can be lost at any time: then it only costs a write that changes nothing.
 */
export class OwnWrites<T extends KubeObject> {
  readonly #cache: Pick<ResourceCache<T>, 'get' | 'onChange'>;
  readonly #now: () => number;
  readonly #stopListening: () => void;
  readonly #written = new Map<string, { readonly object: T; readonly at: number }>();

  constructor(cache: Pick<ResourceCache<T>, 'get' | 'onChange'>, clock: { now(): number }) {
    this.#cache = cache;
    this.#now = () => clock.now();
    // What is told of an object that we wrote is at least as new as our write, or it is gone.
    this.#stopListening = cache.onChange(({ type, object }) => {
      const known = this.#written.get(object.metadata.name);
      if (known === undefined || known.object.metadata.uid !== object.metadata.uid) return;
      if (type === 'DELETED' || !older(object, known.object)) this.#written.delete(object.metadata.name);
    });
  }

  /** What a write answered. */
  note(object: T): void {
    this.#written.set(object.metadata.name, { object, at: this.#now() });
  }

  get(name: string): T | undefined {
    const cached = this.#cache.get(name);
    const own = this.#written.get(name);
    if (own === undefined) return cached;
    if (this.#now() - own.at > KEEP_MS || (cached !== undefined && cached.metadata.uid !== own.object.metadata.uid)) {
      this.#written.delete(name);
      return cached;
    }
    return cached === undefined || older(cached, own.object) ? own.object : cached;
  }

  forget(name: string): void {
    this.#written.delete(name);
  }

  /** No longer listens to the cache. */
  close(): void {
    this.#stopListening();
  }
}

/** Versions of one object are numbers that grow: so in every API server that was, and by contract since Kubernetes 1.35. */
function older(a: KubeObject, b: KubeObject): boolean {
  return Number(a.metadata.resourceVersion) < Number(b.metadata.resourceVersion);
}
