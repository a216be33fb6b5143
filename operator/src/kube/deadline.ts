import type { Clock } from '../lib/clock.ts';

/**
 * Runs `work` with a signal that aborts when the caller's does or after `ms`. Its listener is taken off again: AbortSignal.any
 * on a signal that lives as long as the process would keep a trace of every call.
 */
export async function withDeadline<R>(
  {
    ms,
    what,
    clock,
    signal,
  }: { readonly ms: number; readonly what: string; readonly clock: Clock; readonly signal: AbortSignal | undefined },
  work: (signal: AbortSignal) => Promise<R>,
): Promise<R> {
  signal?.throwIfAborted();
  const call = new AbortController();
  const over = new AbortController();
  const abort = (): void => call.abort(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  clock.sleep(ms, over.signal).then(
    () => call.abort(new Error(`cannot ${what}: no answer within ${ms} ms`)),
    () => {}, // answered in time
  );
  try {
    return await work(call.signal);
  } catch (e) {
    // Whatever the aborted work made of it, why it was aborted is the news.
    if (call.signal.aborted) throw call.signal.reason;
    throw e;
  } finally {
    over.abort();
    signal?.removeEventListener('abort', abort);
  }
}
