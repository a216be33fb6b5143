/** A stream of responses, as far as its writer uses it. */
export interface Sink<T> {
  /** False: no more until `drain`. */
  write(response: T): boolean;
  once(event: 'drain', listener: () => void): unknown;
  off(event: 'drain', listener: () => void): unknown;
}

/** Resolves when the reader has room for the next, or `signal` aborts. */
export function write<T>(call: Sink<T>, response: T, signal: AbortSignal): Promise<void> {
  if (call.write(response)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      call.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}
