import type { Clock } from '../lib/clock.ts';

/** Something took longer than it may. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

/** Made once: an abort without a reason makes an exception with a stack, for every event. */
const FASTER = new Error('the work was faster');

/**
 * Runs `work` for at most `ms`, or until `parent` aborts: then its signal aborts and the promise rejects at once (DeadlineError, or
 * the parent's reason), whether or not `work` heeds the signal. `what` completes "... took longer than ... ms".
 */
export async function withDeadline<T>(
  clock: Clock,
  what: string,
  ms: number,
  parent: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  parent?.throwIfAborted();
  const call = new AbortController();
  const timer = new AbortController();
  const aborted = Promise.withResolvers<never>();
  call.signal.addEventListener('abort', () => aborted.reject(call.signal.reason), { once: true });
  // Not AbortSignal.any: on a signal that lives as long as the process it keeps a trace of every call.
  const stop = (): void => call.abort(parent?.reason);
  parent?.addEventListener('abort', stop, { once: true });
  const timed = clock.sleep(ms, timer.signal).then(
    () => call.abort(new DeadlineError(`${what} took longer than ${ms} ms`)),
    () => {}, // the work was faster
  );
  try {
    return await Promise.race([work(call.signal), aborted.promise]);
  } finally {
    parent?.removeEventListener('abort', stop);
    timer.abort(FASTER);
    aborted.promise.catch(() => {}); // nobody waits for it any more
    await timed;
  }
}
