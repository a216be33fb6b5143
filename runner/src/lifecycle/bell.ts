import type { Clock } from './clock.ts';

/** Without a reason each abort makes an exception with its stack, which takes longer than a small query. */
const WOKEN = new Error('woken');

/**
 * Wakes whoever waits for something new. A ring while nobody waits is kept for the next wait, so that a doorbell between
 * "nothing to do" and "wait" is not lost.
 */
export class Bell {
  readonly #clock: Clock;
  readonly #waiters = new Set<() => void>();
  #rung = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How often it rang: pass it to `wait` to hear everything since. */
  get count(): number {
    return this.#rung;
  }

  ring(): void {
    this.#rung += 1;
    for (const wake of [...this.#waiters]) wake();
  }

  /** Returns at the next ring after `heard`, after `ms`, or when the signal aborts (without throwing). */
  async wait(heard: number, ms: number, signal: AbortSignal): Promise<void> {
    if (this.#rung !== heard || signal.aborted) return;
    const done = new AbortController();
    const wake = (): void => done.abort(WOKEN);
    this.#waiters.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    try {
      await this.#clock.sleep(ms, done.signal);
    } catch {
      // woken: that is what the abort is for
    } finally {
      this.#waiters.delete(wake);
      signal.removeEventListener('abort', wake);
    }
  }
}
