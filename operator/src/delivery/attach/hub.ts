/**
 * The server's end of every Attach stream: doorbells both ways, and what a runner says of itself. All of it is memory: a stream
 * that is lost loses nothing, because rows are found by the poll.
 */

import { attach, INBOUND_MIGRATIONS, latest } from '@dovecote/proto';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Clock } from '../../lib/clock.ts';
import { callerOf, StatusError, status, toStatus } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';

type Stream = Pick<
  ServerDuplexStream<attach.AttachRequest, attach.AttachResponse>,
  'write' | 'end' | 'emit' | 'on' | 'metadata' | 'writableNeedDrain'
>;

/** How to reach a session's ContainerService, and only this very runner process. */
export interface RunnerEndpoint {
  readonly address: string;
  /** PEM, to be pinned */
  readonly certificate: string;
  /** shown back in `x-dovecote-caller` */
  readonly callerSecret: string;
}

export interface HubEvents {
  onAttached(session: string): void;
  /** messages_out or acks have new rows */
  onOutbox(session: string): void;
  onProgress(session: string, progress: attach.Progress): void;
  /** What it writes has changed: see `partial`. */
  onPartial(session: string): void;
  onDrained(session: string, drained: attach.Drained): void;
  /** its stream ended, and no newer one took its place */
  onDetached(session: string): void;
}

export interface HubDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly events: HubEvents;
  /** highest seq of the session's inbound rows; undefined when this shard has no such cell */
  readonly highestSeq: (session: string) => number | undefined;
}

interface Attached {
  readonly stream: Stream;
  readonly instance: string;
  readonly podUid: string;
  readonly version: string;
  readonly endpoint: RunnerEndpoint;
  progress: attach.Progress | undefined;
  partial: attach.PartialText | undefined;
  /** ms since 1970 */
  partialAt: number;
}

/** Longest partial text that is kept of a session; of a longer one its beginning. A runner that sends more fills no memory of ours. */
const MAX_PARTIAL_CHARS = 64 * 1024;
/** A runner sends at most ten in a second. One that sends more makes no work for everybody who watches. */
const PARTIAL_EVERY_MS = 50;
/** Runner processes of a session that a newer one replaced: enough to stop two from taking each other's place for ever. */
const REMEMBERED_INSTANCES = 8;
const HELLO_WITHIN_MS = 10_000;
/** A runner has one stream, and dials anew before an old one is given up. More are an agent's that uses its Pod's token to fill our memory. */
const MAX_STREAMS = 8;

export class AttachHub {
  readonly #deps: HubDeps;
  readonly #attached = new Map<string, Attached>();
  readonly #retired = new Map<string, string[]>();
  readonly #closed = new AbortController();
  readonly #streams = new Set<Stream>();
  /** how many of them each session has */
  readonly #open = new Map<string, number>();

  constructor(deps: HubDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#attached.size;
  }

  isAttached(session: string): boolean {
    return this.#attached.has(session);
  }

  progress(session: string): attach.Progress | undefined {
    return this.#attached.get(session)?.progress;
  }

  /** The answer that is being written, as far as it is known; undefined: none. */
  partial(session: string): attach.PartialText | undefined {
    return this.#attached.get(session)?.partial;
  }

  endpoint(session: string): RunnerEndpoint | undefined {
    return this.#attached.get(session)?.endpoint;
  }

  /** The Pod behind the stream; undefined when none is attached. */
  podUid(session: string): string | undefined {
    return this.#attached.get(session)?.podUid;
  }

  /** inbound.db has rows up to `seq`. False: no runner listens. */
  ring(session: string, seq: number): boolean {
    return this.#send(session, { message: { $case: 'inbox', value: { seq } } }, true);
  }

  projectionChanged(session: string): boolean {
    return this.#send(session, { message: { $case: 'projection', value: {} } }, true);
  }

  /** `deadlineMs`: since 1970. */
  drain(session: string, reason: string, deadlineMs: number): boolean {
    return this.#send(session, { message: { $case: 'drain', value: { reason, deadlineMs } } }, false);
  }

  /** One Attach call, from its first byte to its last. */
  serve(stream: Stream): void {
    if (this.#closed.signal.aborted) {
      stream.emit('error', { code: status.UNAVAILABLE, message: 'delivery is shutting down' });
      return;
    }
    const caller = callerOf(stream.metadata);
    const dials = caller.type === 'session' ? caller.session : '';
    const open = this.#open.get(dials) ?? 0;
    if (open >= MAX_STREAMS) {
      stream.emit('error', { code: status.RESOURCE_EXHAUSTED, message: `session ${dials} has ${open} streams open already` });
      return;
    }
    this.#streams.add(stream);
    this.#open.set(dials, open + 1);
    let session: string | undefined;
    const helloOrGone = new AbortController();
    const fail = (thrown: unknown): void => {
      const answer = toStatus(thrown, (err) => this.#deps.log.error({ session, err }, 'attach stream failed'));
      stream.emit('error', answer);
      leave();
    };
    const leave = (): void => {
      helloOrGone.abort();
      if (this.#streams.delete(stream)) this.#left(dials);
      if (session !== undefined && this.#attached.get(session)?.stream === stream) {
        this.#attached.delete(session);
        this.#deps.events.onDetached(session);
      }
    };
    stream.on('data', ({ message }: attach.AttachRequest) => {
      try {
        if (session === undefined) {
          if (message?.$case !== 'hello') throw new StatusError(status.INVALID_ARGUMENT, 'the first message must be hello');
          this.#hello(stream, message.value);
          session = message.value.session;
          helloOrGone.abort();
          this.#deps.events.onAttached(session);
        } else if (this.#attached.get(session)?.stream === stream) this.#heard(session, message);
      } catch (e) {
        fail(e);
      }
    });
    stream.on('end', () => {
      leave();
      stream.end();
    });
    stream.on('error', leave); // the connection broke: the runner dials again
    stream.on('close', leave);
    stream.on('cancelled', leave);
    this.#deps.clock.sleep(HELLO_WITHIN_MS, AbortSignal.any([helloOrGone.signal, this.#closed.signal])).then(
      () => fail(new StatusError(status.DEADLINE_EXCEEDED, `no hello came within ${HELLO_WITHIN_MS} ms`)),
      () => {}, // it came, or the stream is gone
    );
  }

  #left(dials: string): void {
    const open = (this.#open.get(dials) ?? 1) - 1;
    if (open > 0) this.#open.set(dials, open);
    else this.#open.delete(dials);
  }

  /** Ends all streams; runners dial the next delivery. */
  close(): void {
    this.#closed.abort();
    for (const stream of this.#streams) stream.end();
    this.#attached.clear();
  }

  #hello(stream: Stream, hello: attach.Hello): void {
    const caller = callerOf(stream.metadata);
    if (caller.type !== 'session' || caller.session !== hello.session)
      throw new StatusError(status.PERMISSION_DENIED, `this caller may not attach as session ${hello.session}`);
    const seq = this.#deps.highestSeq(hello.session);
    if (seq === undefined) throw new StatusError(status.NOT_FOUND, `session ${hello.session} has no cell on this shard`);
    const ours = latest(INBOUND_MIGRATIONS);
    if (hello.inboundSchema < ours - 1)
      throw new StatusError(
        status.FAILED_PRECONDITION,
        `the runner reads inbound.db up to version ${hello.inboundSchema}, this delivery writes version ${ours}: it needs a newer image`,
      );
    const retired = this.#retired.get(hello.session) ?? [];
    if (retired.includes(hello.instance)) throw new StatusError(status.ABORTED, 'a newer runner has taken this session over');
    const older = this.#attached.get(hello.session);
    const callerSecret = this.#deps.random.id(40);
    this.#attached.set(hello.session, {
      stream,
      instance: hello.instance,
      podUid: caller.podUid,
      version: hello.runnerVersion,
      endpoint: { address: hello.containerServiceAddress, certificate: hello.containerServiceCertificate, callerSecret },
      progress: undefined,
      partial: undefined,
      partialAt: 0,
    });
    if (older !== undefined) {
      if (older.instance !== hello.instance) this.#retired.set(hello.session, [...retired, older.instance].slice(-REMEMBERED_INSTANCES));
      older.stream.emit('error', { code: status.ABORTED, message: 'a newer stream of this session has taken its place' });
    }
    stream.write({ message: { $case: 'welcome', value: { callerSecret, seq } } });
    this.#deps.log.debug({ session: hello.session, instance: hello.instance, version: hello.runnerVersion }, 'runner attached');
  }

  #heard(session: string, message: attach.AttachRequest['message']): void {
    const attached = this.#attached.get(session);
    switch (message?.$case) {
      case 'outbox':
        this.#deps.events.onOutbox(session);
        return;
      case 'progress':
        if (attached !== undefined) {
          attached.progress = message.value;
          // The turn is over: its answer is a row by now, or never will be one.
          if (message.value.phase === attach.Progress_Phase.IDLE) this.#writes(session, attached, undefined);
        }
        this.#deps.events.onProgress(session, message.value);
        return;
      case 'partial':
        if (attached !== undefined) this.#writes(session, attached, message.value);
        return;
      case 'drained':
        this.#deps.events.onDrained(session, message.value);
        return;
      case 'hello':
        throw new StatusError(status.INVALID_ARGUMENT, 'hello was said before');
      default: // from a newer runner: what we do not know we do not need
    }
  }

  /** Only the newest counts, so one that comes too soon is left out: the next replaces it, or the message itself does. */
  #writes(session: string, attached: Attached, partial: attach.PartialText | undefined): void {
    const now = this.#deps.clock.now();
    if (partial === undefined || partial.text === '') {
      if (attached.partial === undefined) return;
      attached.partial = undefined;
    } else {
      if (now - attached.partialAt < PARTIAL_EVERY_MS) return;
      attached.partial = { ...partial, text: partial.text.slice(0, MAX_PARTIAL_CHARS) };
    }
    attached.partialAt = partial === undefined || partial.text === '' ? 0 : now;
    this.#deps.events.onPartial(session);
  }

  #send(session: string, message: attach.AttachResponse, mayBeLost: boolean): boolean {
    const stream = this.#attached.get(session)?.stream;
    if (stream === undefined) return false;
    // A peer that does not read must not fill our memory; a doorbell more tells it nothing new.
    if (!(mayBeLost && stream.writableNeedDrain)) stream.write(message);
    return true;
  }
}
