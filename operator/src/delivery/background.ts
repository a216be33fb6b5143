import type { Counter } from 'prom-client';
import { toError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';

/**
 * Owner of short work that nobody waits for: one session's wake, drain or read. A failure is logged with its name and harms nothing
 * else, because rows make the next tick try again. Loops belong into a TaskGroup.
 */
export class Background {
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #log: Log;
  readonly #failures: Pick<Counter<'work'>, 'inc'>;
  readonly signal: AbortSignal = this.#stop.signal;

  constructor(deps: { readonly log: Log; readonly failures: Pick<Counter<'work'>, 'inc'> }) {
    this.#log = deps.log;
    this.#failures = deps.failures;
  }

  run(work: string, session: string, task: (signal: AbortSignal) => Promise<void>): void {
    if (this.signal.aborted) return;
    const running: Promise<void> = task(this.signal)
      .catch((thrown: unknown) => {
        if (this.signal.aborted) return;
        this.#failures.inc({ work });
        this.#log.error({ work, session, err: toError(thrown) }, 'work on a session failed and is tried again');
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Nothing new begins; waits for what runs. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('delivery is shutting down'));
    await Promise.all(this.#running);
  }
}
