/**
 * Path of a custom resource, first hop: list, then watch, for ever, into a ResourceCache. From here keys go to a work queue.
 * Whatever a server does (refuse, reset, fall silent, forget), the cache goes on or the reason is in the log and in a metric.
 */
import { type Backoff, backoffMs } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { toError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { GoneError } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import type { ResourceCache } from './resource-cache.ts';
import type { KubeObject, ResourceStore, ResourceType, Selector, WatchEvent } from './store.ts';

export interface ReflectorOptions {
  readonly retry: Backoff;
  /** The server is asked to end a watch after this long, plus up to as much again: else all watches end in the same second. */
  readonly watchMs: number;
  /** Longest time without event or bookmark before a watch is taken for dead. Servers send a bookmark each minute. */
  readonly silentMs: number;
}

export const REFLECTOR_DEFAULTS: ReflectorOptions = {
  retry: { baseMs: 250, maxMs: 30_000 },
  watchMs: 300_000,
  silentMs: 150_000,
};

/** A watch that ends this soon without a single event did not really begin. */
const HASTY_MS = 1_000;

class SilentWatchError extends Error {
  override readonly name = 'SilentWatchError';
}

export class Reflector<T extends KubeObject> {
  readonly #store: ResourceStore;
  readonly #type: ResourceType<T>;
  readonly #selector: Selector | undefined;
  readonly #cache: Pick<ResourceCache<T>, 'replace' | 'apply' | 'lastEventAgeMs'>;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #metrics: KubeMetrics | undefined;
  readonly #options: ReflectorOptions;

  constructor(deps: {
    readonly store: ResourceStore;
    readonly type: ResourceType<T>;
    readonly cache: Pick<ResourceCache<T>, 'replace' | 'apply' | 'lastEventAgeMs'>;
    readonly clock: Clock;
    readonly random: Random;
    readonly log: Log;
    readonly selector?: Selector;
    readonly metrics?: KubeMetrics;
    readonly options?: Partial<ReflectorOptions>;
  }) {
    this.#store = deps.store;
    this.#type = deps.type;
    this.#selector = deps.selector;
    this.#cache = deps.cache;
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#log = deps.log.child({ kind: deps.type.kind });
    this.#metrics = deps.metrics;
    this.#options = { ...REFLECTOR_DEFAULTS, ...deps.options };
  }

  /** Ends only when `signal` aborts; then nothing of it is left open. */
  async run(signal: AbortSignal): Promise<void> {
    this.#metrics?.eventAges.set(this.#type.kind, () => this.#cache.lastEventAgeMs());
    let resourceVersion: string | undefined;
    let failures = 0;
    while (!signal.aborted) {
      const startedAt = this.#clock.now();
      let events = 0;
      try {
        resourceVersion ??= await this.#list(signal);
        for await (const event of this.#watch(resourceVersion, signal)) {
          resourceVersion = event.type === 'BOOKMARK' ? event.resourceVersion : versionOf(event);
          if (event.type === 'INVALID') this.#metrics?.invalidObjects.inc({ kind: this.#type.kind });
          this.#cache.apply(event);
          events += 1;
          failures = 0;
        }
        if (!signal.aborted) this.#ended('closed');
        // A server that ends every watch at once would be asked again without pause.
        failures = events === 0 && this.#clock.now() - startedAt < HASTY_MS ? failures + 1 : 0;
      } catch (thrown) {
        if (signal.aborted) return;
        failures += 1;
        const err = toError(thrown);
        if (err instanceof GoneError && resourceVersion !== undefined) {
          this.#ended('gone');
          this.#log.info({ resourceVersion }, 'watch is too old, listing again');
          // What changed meanwhile can no longer be told one by one.
          resourceVersion = undefined;
        } else if (resourceVersion === undefined) {
          this.#metrics?.lists.inc({ kind: this.#type.kind, result: 'error' });
          this.#log.error({ err, failures }, 'list failed');
        } else {
          this.#ended(err instanceof SilentWatchError ? 'silent' : 'error');
          this.#log.error({ err, failures, resourceVersion }, 'watch lost');
        }
      }
      if (failures === 0) continue;
      const pauseMs = backoffMs(failures, this.#options.retry, this.#random);
      await this.#clock.sleep(pauseMs, signal).catch(() => {}); // cancelled: the loop's condition ends it
    }
  }

  async #list(signal: AbortSignal): Promise<string> {
    const list = await this.#store.list(this.#type, this.#selector, { signal });
    signal.throwIfAborted();
    this.#cache.replace(list);
    this.#metrics?.lists.inc({ kind: this.#type.kind, result: 'ok' });
    if (list.invalid.length > 0) this.#metrics?.invalidObjects.inc({ kind: this.#type.kind }, list.invalid.length);
    return list.resourceVersion;
  }

  /** The store's watch, ended by an error when nothing comes for too long: a socket whose other end is gone says nothing at all. */
  async *#watch(resourceVersion: string, signal: AbortSignal): AsyncGenerator<WatchEvent<T>, void> {
    const stop = new AbortController();
    const { watchMs, silentMs } = this.#options;
    let heardAt = this.#clock.now();
    const watchdog = async (): Promise<void> => {
      for (let leftMs = silentMs; leftMs > 0; leftMs = heardAt + silentMs - this.#clock.now()) await this.#clock.sleep(leftMs, stop.signal);
      stop.abort(new SilentWatchError(`no event and no bookmark for ${silentMs} ms`));
    };
    const watching = watchdog().catch(() => {}); // rejects only when the watch is over
    try {
      const events = this.#store.watch(this.#type, {
        resourceVersion,
        selector: this.#selector,
        timeoutMs: Math.round(watchMs * (1 + this.#random.fraction())),
        signal: AbortSignal.any([signal, stop.signal]),
      });
      for await (const event of events) {
        heardAt = this.#clock.now();
        yield event;
      }
      if (stop.signal.reason instanceof SilentWatchError) throw stop.signal.reason;
    } finally {
      stop.abort();
      await watching;
    }
  }

  #ended(why: 'closed' | 'gone' | 'silent' | 'error'): void {
    this.#metrics?.watchEnds.inc({ kind: this.#type.kind, why });
  }
}

function versionOf(event: Exclude<WatchEvent<KubeObject>, { type: 'BOOKMARK' }>): string {
  return event.type === 'INVALID' ? event.object.resourceVersion : event.object.metadata.resourceVersion;
}
