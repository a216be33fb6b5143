import type { Clock } from '../lib/clock.ts';

/** Tells everyone who waits that something has changed. Carries nothing: the listener looks for itself. */
export class Bell {
  readonly #waiting = new Set<() => void>();

  ring(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Until the next ring, `ms`, or abort, whichever comes first; which one it was, the caller sees by looking. Never rejects. */
  async wait(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const timer = new AbortController();
    const woken = Promise.withResolvers<void>();
    const wake = (): void => woken.resolve();
    this.#waiting.add(wake);
    // Not AbortSignal.any: it would hang one more dependant on a signal that lives as long as the process, at each wait.
    signal.addEventListener('abort', wake, { once: true });
    clock.sleep(ms, timer.signal).then(wake, () => {});
    await woken.promise;
    timer.abort();
    this.#waiting.delete(wake);
    signal.removeEventListener('abort', wake);
  }
}
