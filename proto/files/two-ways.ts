import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { FileCall } from './file-calls.ts';

/** Whoever the call was for has left, or the process ends. */
export class CallOverError extends Error {
  override readonly name = 'CallOverError';
}

/** A call as its methods see it: whole messages both ways, each way waiting for the other side. */
export interface TwoWays<Req, Res> extends FileCall<Req, Res> {
  /** aborts when the caller leaves, or this process ends */
  readonly gone: AbortSignal;
}

/**
 * `requests` and `send` reject with CallOverError once `gone` is aborted. A caller that cancels may be seen to end its stream first, and
 * to be gone only later: what must be whole has to say so in its last message.
 */
export function twoWays<Req, Res>(call: ServerDuplexStream<Req, Res>, ending: AbortSignal): TwoWays<Req, Res> {
  const left = new AbortController();
  call.on('cancelled', () => left.abort());
  call.on('close', () => left.abort());
  const gone = AbortSignal.any([left.signal, ending]);
  // A listener for each wait: whatever is raced with one promise that lasts as long as the call is held until the call ends, and so
  // would be every message of it.
  const unlessOver = async <T>(work: Promise<T>): Promise<T> => {
    const over = Promise.withResolvers<never>();
    const onGone = (): void => over.reject(new CallOverError(ending.aborted ? 'the server ends' : 'the caller has left'));
    if (gone.aborted) onGone();
    else gone.addEventListener('abort', onGone, { once: true });
    try {
      return await Promise.race([work, over.promise]);
    } finally {
      gone.removeEventListener('abort', onGone);
    }
  };
  const messages = call[Symbol.asyncIterator]() as AsyncIterator<Req>;
  return {
    gone,
    requests: { next: () => unlessOver(messages.next()) },
    send: async (response) => {
      if (call.write(response)) return;
      const drained = Promise.withResolvers<void>();
      call.once('drain', drained.resolve);
      try {
        await unlessOver(drained.promise);
      } finally {
        call.off('drain', drained.resolve);
      }
    },
  };
}
