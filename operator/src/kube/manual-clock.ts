import type { Clock } from '../lib/clock.ts';

/** Test only: time that stands still until it is advanced. */
export class ManualClock implements Clock {
  #now: number;
  readonly #sleepers = new Set<{ readonly due: number; readonly wake: () => void }>();

  constructor(now = 1_000_000) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const sleeper = {
        due: this.#now + ms,
        wake: () => {
          signal.removeEventListener('abort', abort);
          resolve();
        },
      };
      const abort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }

  /** Sleeps under way. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Moves time on, sleeper by sleeper, each with its consequences before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const [next] = [...this.#sleepers].filter((s) => s.due <= end).sort((a, b) => a.due - b.due);
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.due);
      this.#sleepers.delete(next);
      next.wake();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** Long enough for a few promises and a turn of the garbage collector of the embedded store. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
