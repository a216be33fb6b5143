import type { Clock } from './clock.ts';

interface Sleeper {
  readonly due: number;
  readonly wake: () => void;
}

/** Test only: time that stands still until it is advanced. */
export class ManualClock implements Clock {
  #now: number;
  readonly #sleepers = new Set<Sleeper>();

  constructor(now = 1_800_000_000_000) {
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

  /** Moves time on at once: whoever's time has come then finds it late. */
  jump(ms: number): void {
    this.#now += ms;
    for (const sleeper of this.#dueBy(this.#now)) this.#wake(sleeper);
  }

  /** Moves time on, sleeper by sleeper, each with its consequences before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const [next] = this.#dueBy(end);
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.due);
      this.#wake(next);
      await settle();
    }
    this.#now = end;
    await settle();
  }

  #dueBy(end: number): readonly Sleeper[] {
    return [...this.#sleepers].filter(({ due }) => due <= end).sort((a, b) => a.due - b.due);
  }

  #wake(sleeper: Sleeper): void {
    this.#sleepers.delete(sleeper);
    sleeper.wake();
  }
}

/** Long enough for a few promises and a turn of the garbage collector of the embedded store. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
