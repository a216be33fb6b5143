import type { TwoWays } from '@dovecote/proto';
import type { Deadline, ServiceError } from '@grpc/grpc-js';
import { isServiceError, StatusError, status } from '../../lib/grpc.ts';
import type { RunnerConnection } from './runner-pool.ts';

const asIs = (bytes: Buffer): Buffer => bytes;

export interface ForwardedCall {
  readonly session: string;
  readonly path: string;
  readonly deadline: Deadline;
  /** something went one way or the other */
  readonly onMessage: () => void;
}

/**
 * One call, passed on byte by byte: what is in the messages is between the caller and the runner. Each side waits for the other, the
 * caller's deadline is the runner's, and a caller that leaves takes the call with it. Throws StatusError.
 */
export async function forward(
  ways: TwoWays<Buffer, Buffer>,
  { client, metadata }: RunnerConnection,
  { session, path, deadline, onMessage }: ForwardedCall,
): Promise<void> {
  const upstream = client.makeBidiStreamRequest(path, asIs, asIs, metadata, { deadline });
  const cancel = (): void => upstream.cancel();
  ways.gone.addEventListener('abort', cancel, { once: true });
  if (ways.gone.aborted) cancel();
  const feed = async (): Promise<void> => {
    for (let next = await ways.requests.next(); next.done !== true; next = await ways.requests.next()) {
      onMessage();
      if (upstream.destroyed) return;
      if (!upstream.write(next.value)) await flushed(upstream);
    }
    upstream.end();
  };
  void feed().catch(cancel); // the caller has left
  try {
    for await (const message of upstream as AsyncIterable<Buffer>) {
      onMessage();
      await ways.send(message);
    }
  } catch (e) {
    throw isServiceError(e) ? translated(e, session) : e;
  } finally {
    ways.gone.removeEventListener('abort', cancel);
    cancel(); // harmless when it has ended
  }
}

/** Resolves when more can be written, or never will be. */
function flushed(stream: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of ['drain', 'close', 'error']) stream.off(event, done);
      resolve();
    };
    for (const event of ['drain', 'close', 'error']) stream.once(event, done);
  });
}

/** What the runner refused is the caller's to know; what became of the runner is said in words of ours. */
function translated({ code, details }: ServiceError, session: string): StatusError {
  switch (code) {
    case status.UNAVAILABLE:
    case status.CANCELLED: // not by our caller: by the runner, as it ended
      return new StatusError(status.UNAVAILABLE, `the Pod of session ${session} went away in the middle of the call: try again`);
    case status.UNAUTHENTICATED:
      return new StatusError(status.UNAVAILABLE, `the runner of session ${session} has just attached anew: try again`);
    default:
      return new StatusError(code, details);
  }
}
