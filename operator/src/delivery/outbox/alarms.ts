import type { Clock } from '../../lib/clock.ts';

/** Timers overflow beyond 24 days, and a clock may be set: no sleep is longer. */
const MAX_SLEEP_MS = 3_600_000;

/**
 * One time per session at which its rows are looked at again. Only a reminder: the times themselves are in the rows, from which
 * they are set again after a restart.
 */
export class Alarms {
  readonly #clock: Clock;
  readonly #ring: (session: string) => void;
  readonly #at = new Map<string, number>();
  #changed = new AbortController();
  #sleepsUntil = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, ring: (session: string) => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** undefined: none. */
  set(session: string, at: number | undefined): void {
    if (at === undefined) this.#at.delete(session);
    else this.#at.set(session, at);
    if (at !== undefined && at < this.#sleepsUntil) this.#changed.abort();
  }

  get(session: string): number | undefined {
    return this.#at.get(session);
  }

  /** Rings until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const now = this.#clock.now();
      let next = now + MAX_SLEEP_MS;
      let rang = false;
      for (const [session, at] of this.#at) {
        if (at > now) {
          next = Math.min(next, at);
          continue;
        }
        this.#at.delete(session);
        this.#ring(session);
        rang = true;
      }
      if (rang) continue; // what rang may have set the next one
      this.#changed = new AbortController();
      this.#sleepsUntil = next;
      try {
        await this.#clock.sleep(Math.max(1, this.#sleepsUntil - now), AbortSignal.any([signal, this.#changed.signal]));
      } catch {
        signal.throwIfAborted(); // else an earlier time was set
      }
      this.#sleepsUntil = Number.POSITIVE_INFINITY;
    }
  }
}
