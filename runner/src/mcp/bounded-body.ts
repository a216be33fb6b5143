import type { FloodGauge } from './flood-gauge.ts';

const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const NEWLINE = 0x0a;

/**
 * The response with a body that breaks off when one message in it, or all of it within some seconds, is more than this process
 * can hold. Without its redirect: the proxy has none of its own, and where a server points to is not for a Pod to follow.
 */
export function boundedBody(response: Response, gauge: FloodGauge, onFlood: (clause: string) => void): Response {
  const headers = new Headers(response.headers);
  headers.delete('location');
  const init = { status: response.status, statusText: response.statusText, headers };
  if (response.body === null) return new Response(null, init);
  const size = new MessageSize((headers.get('content-type') ?? '').includes('text/event-stream'));
  const count = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      const messages = size.add(chunk);
      const fits = gauge.add(chunk.length, messages);
      if (fits && size.largest <= MAX_MESSAGE_BYTES) return controller.enqueue(chunk);
      const clause = fits ? `sent a message longer than ${MAX_MESSAGE_BYTES / 1024 / 1024} MiB` : 'floods: it sends more than can be read';
      onFlood(clause);
      controller.error(new Error(clause));
    },
  });
  return new Response(response.body.pipeThrough(count), init);
}

/** How long the messages of a body are. In a stream of events an empty line ends one; any other body is one as a whole. */
class MessageSize {
  /** of a message so far, bytes */
  largest = 0;
  readonly #events: boolean;
  #message = 0;
  #line = 0;

  constructor(events: boolean) {
    this.#events = events;
  }

  /** How many messages end in it. */
  add(chunk: Uint8Array): number {
    let ended = 0;
    let from = 0;
    for (let at = this.#events ? chunk.indexOf(NEWLINE) : -1; at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      this.#grow(at - from);
      if (this.#line <= 1) {
        // at most a carriage return stood in it
        ended += 1;
        this.#message = 0;
      }
      this.#line = 0;
      from = at + 1;
    }
    this.#grow(chunk.length - from);
    return ended;
  }

  #grow(bytes: number): void {
    this.#line += bytes;
    this.#message += bytes;
    this.largest = Math.max(this.largest, this.#message);
  }
}
