/**
 * Path of a custom resource, second hop: keys that need a look. A key says who, never what happened: that is read from the
 * cache when the key's turn comes, so however often it was added meanwhile, one look is enough.
 */
import { type Backoff, backoffMs } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { DueKeys } from './due-keys.ts';
import type { KubeMetrics } from './metrics.ts';

export const QUEUE_BACKOFF: Backoff = { baseMs: 500, maxMs: 300_000 };

/** Coalescing, one in flight per key, backoff per key. Ends with `signal`: takers get undefined, later adds are ignored. */
export class WorkQueue {
  readonly #name: string;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #signal: AbortSignal;
  readonly #backoff: Backoff;
  readonly #metrics: KubeMetrics | undefined;
  /** Key to when it became ready. A Map keeps the order of adding. */
  readonly #ready = new Map<string, number>();
  /** Key to when it was taken. */
  readonly #running = new Map<string, number>();
  /** Added while running: ready again as soon as they are done. */
  readonly #dirty = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #delayed = new DueKeys();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #timer: { readonly due: number; readonly cancel: AbortController } | undefined;

  constructor(deps: {
    /** A label in metrics. */
    readonly name: string;
    readonly clock: Clock;
    readonly random: Random;
    readonly signal: AbortSignal;
    readonly backoff?: Backoff;
    readonly metrics?: KubeMetrics;
  }) {
    this.#name = deps.name;
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#signal = deps.signal;
    this.#backoff = deps.backoff ?? QUEUE_BACKOFF;
    this.#metrics = deps.metrics;
    this.#signal.addEventListener('abort', () => {
      this.#timer?.cancel.abort();
      for (const taker of this.#takers.splice(0)) taker(undefined);
    });
  }

  /** Ready to be taken. */
  get depth(): number {
    return this.#ready.size;
  }

  add(key: string): void {
    if (this.#signal.aborted) return;
    this.#metrics?.queueAdds.inc({ name: this.#name });
    if (this.#running.has(key)) {
      this.#dirty.add(key);
      return;
    }
    if (this.#ready.has(key)) return;
    this.#ready.set(key, this.#clock.now());
    const taker = this.#takers.shift();
    if (taker !== undefined) taker(this.#start(key));
    this.#metrics?.queueDepth.set({ name: this.#name }, this.#ready.size);
  }

  /** One pending time per key; the earliest wins. */
  addAfter(key: string, ms: number): void {
    if (this.#signal.aborted) return;
    if (ms <= 0) this.add(key);
    else if (this.#delayed.set(key, this.#clock.now() + ms)) this.#arm();
  }

  /** After a failure. Answers with the wait. */
  addBackoff(key: string): number {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const ms = backoffMs(failures, this.#backoff, this.#random);
    this.#metrics?.queueRetries.inc({ name: this.#name });
    this.addAfter(key, ms);
    return ms;
  }

  /** The next failure of `key` is its first. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** Failures of `key` in a row. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The next key, which is in flight until `done`; undefined once the queue has ended. */
  take(): Promise<string | undefined> {
    if (this.#signal.aborted) return Promise.resolve(undefined);
    for (const key of this.#ready.keys()) {
      const taken = this.#start(key);
      this.#metrics?.queueDepth.set({ name: this.#name }, this.#ready.size);
      return Promise.resolve(taken);
    }
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  done(key: string): void {
    const startedAt = this.#running.get(key);
    if (startedAt === undefined) return;
    this.#running.delete(key);
    this.#metrics?.workSeconds.observe({ name: this.#name }, (this.#clock.now() - startedAt) / 1_000);
    if (this.#dirty.delete(key)) this.add(key);
  }

  #start(key: string): string {
    const now = this.#clock.now();
    this.#metrics?.queueSeconds.observe({ name: this.#name }, (now - (this.#ready.get(key) ?? now)) / 1_000);
    this.#ready.delete(key);
    this.#running.set(key, now);
    return key;
  }

  /** One timer, for the earliest key. */
  #arm(): void {
    const due = this.#delayed.next();
    if (due === undefined || this.#signal.aborted || (this.#timer !== undefined && this.#timer.due <= due)) return;
    this.#timer?.cancel.abort();
    const timer = { due, cancel: new AbortController() };
    this.#timer = timer;
    this.#clock.sleep(Math.max(0, due - this.#clock.now()), timer.cancel.signal).then(
      () => {
        this.#timer = undefined;
        for (const key of this.#delayed.take(this.#clock.now())) this.add(key);
        this.#arm();
      },
      () => {}, // cancelled for an earlier one, or at the end
    );
  }
}
