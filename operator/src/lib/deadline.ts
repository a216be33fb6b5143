import type { Clock } from './clock.ts';

/** Something took longer than it may. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

export interface Deadline {
  readonly ms: number;
  /** completes "cannot ..." */
  readonly what: string;
  readonly clock: Clock;
  /** the caller's */
  readonly signal: AbortSignal | undefined;
}

/** Made once: an abort without a reason makes an exception with a stack, for every call. */
const IN_TIME = new Error('the work was in time');

/**
 * Runs `work` with a signal that aborts when the caller's does or after `ms`, and waits for its end, so that two runs of it never
 * overlap. Rejects with the caller's reason, DeadlineError, or what the work throws.
 */
export async function withDeadline<R>({ ms, what, clock, signal }: Deadline, work: (signal: AbortSignal) => Promise<R>): Promise<R> {
  signal?.throwIfAborted();
  const call = new AbortController();
  const over = new AbortController();
  // Not AbortSignal.any: on a signal that lives as long as the process it keeps a trace of every call.
  const abort = (): void => call.abort(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  clock.sleep(ms, over.signal).then(
    () => call.abort(new DeadlineError(`cannot ${what}: no answer within ${ms} ms`)),
    () => {}, // in time
  );
  try {
    return await work(call.signal);
  } catch (e) {
    // Whatever the aborted work made of it, why it was aborted is the news.
    if (call.signal.aborted) throw call.signal.reason;
    throw e;
  } finally {
    over.abort(IN_TIME);
    signal?.removeEventListener('abort', abort);
  }
}

/** The same for work that may not heed its signal, such as a platform library's: rejects at once, and the work is left to end by itself. */
export function abandonAfter<R>(deadline: Deadline, work: (signal: AbortSignal) => Promise<R>): Promise<R> {
  return withDeadline(deadline, (signal) => {
    const aborted = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => aborted.reject(signal.reason), { once: true });
    return Promise.race([work(signal), aborted.promise]);
  });
}
