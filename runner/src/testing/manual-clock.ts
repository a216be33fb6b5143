import type { Clock } from '../lifecycle/clock.ts';

interface Sleeper {
  readonly at: number;
  wake(): void;
}

/** Time that moves only when told. For tests only. */
export class ManualClock implements Clock {
  readonly #sleepers = new Set<Sleeper>();
  /** every wait that was asked for, ms */
  readonly slept: number[] = [];
  #now: number;

  constructor(now: number) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const sleeper of [...this.#sleepers]) if (sleeper.at <= this.#now) sleeper.wake();
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.slept.push(ms);
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const abort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      };
      const sleeper: Sleeper = {
        at: this.#now + ms,
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal.removeEventListener('abort', abort);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  every(): () => void {
    return () => {};
  }

  /** Lets everything run that is ready, then moves to the next wake-up; returns when `done` is true. */
  async runUntil(done: () => boolean): Promise<void> {
    for (let turns = 0; !done(); turns += 1) {
      if (turns > 10_000) throw new Error('nothing led to the end that was waited for');
      for (let n = 0; n < 5; n += 1) await new Promise((resolve) => setImmediate(resolve));
      if (done()) return;
      const next = Math.min(...[...this.#sleepers].map((sleeper) => sleeper.at));
      if (Number.isFinite(next)) this.advance(Math.max(0, next - this.#now));
    }
  }
}
