import type { Clock } from '../lifecycle/clock.ts';

/** Time that is kept for the last commit and the good-bye after the step in hand was cut, ms. */
const RESERVE_MS = 1_000;

/** Two signals: `soft` means start nothing new, `hard` means the time for the step in hand is over. */
export class Drain {
  readonly #clock: Clock;
  readonly #soft = new AbortController();
  readonly #hard = new AbortController();
  readonly #timer = new AbortController();
  #reason = '';
  #timing: Promise<void> = Promise.resolve();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get soft(): AbortSignal {
    return this.#soft.signal;
  }
  get hard(): AbortSignal {
    return this.#hard.signal;
  }
  /** Idle, Terminated or DiskFull */
  get reason(): string {
    return this.#reason;
  }

  /** Only the first call counts, but a later one may bring the deadline (ms since 1970) forward. */
  begin(reason: string, deadline: number): void {
    if (this.#reason === '') this.#reason = reason;
    const left = Math.max(0, deadline - RESERVE_MS - this.#clock.now());
    this.#timing = Promise.all([
      this.#timing,
      this.#clock.sleep(left, this.#timer.signal).then(
        () => this.#hard.abort(),
        () => {},
      ),
    ]).then(() => {});
    this.#soft.abort();
  }

  /** Stops the timers. */
  async close(): Promise<void> {
    this.#timer.abort();
    await this.#timing;
  }
}
