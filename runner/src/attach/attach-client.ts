/**
 * Hops 5 to 8 as doorbells: one stream to delivery, dialled again for ever. Nothing durable travels here, and the runner
 * works without it: what a lost stream would have announced is found by the poll.
 */
import { readFile } from 'node:fs/promises';
import { attach } from '@dovecote/proto';
import { type ClientDuplexStream, credentials, Metadata } from '@grpc/grpc-js';
import type { Clock } from '../lifecycle/clock.ts';
import { toError } from '../lifecycle/exit.ts';
import type { Log } from '../lifecycle/log.ts';
import { IDLE, type Progress } from './progress.ts';

const FIRST_REDIAL_MS = 100;
const MAX_REDIAL_MS = 2_000;
/** A dial without a Welcome for so long is given up: a half-open connection would be waited for without end. */
const WELCOME_MS = 10_000;
/** Signs of life of the same activity are passed on this often at most. */
const PROGRESS_MS = 2_000;

const PHASES = {
  idle: attach.Progress_Phase.IDLE,
  turn: attach.Progress_Phase.TURN,
  waiting: attach.Progress_Phase.WAITING,
  draining: attach.Progress_Phase.DRAINING,
} as const;

type Stream = ClientDuplexStream<attach.AttachRequest, attach.AttachResponse>;

export interface AttachDeps {
  /** host:port of delivery */
  readonly address: string;
  /** file with the Pod's token, read at each dial: kubelet exchanges it */
  readonly tokenFile: string;
  readonly hello: attach.Hello;
  readonly clock: Clock;
  readonly log: Log;
  readonly onDoorbell: () => void;
  readonly onCallerSecret: (secret: string) => void;
  /** deadline: ms since 1970 */
  readonly onDrain: (reason: string, deadline: number) => void;
}

export class AttachClient {
  readonly #deps: AttachDeps;
  #stream: Stream | undefined;
  #progress: Progress = IDLE;
  #progressAt = 0;
  #jobsUntil = 0;
  #outbox = 0;
  #ending = false;

  constructor(deps: AttachDeps) {
    this.#deps = deps;
  }

  /** Keeps a stream open until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let waitMs = FIRST_REDIAL_MS;
    while (!signal.aborted && !this.#ending) {
      const { welcomed, error } = await this.#once(signal);
      if (signal.aborted || this.#ending) return;
      if (welcomed) waitMs = FIRST_REDIAL_MS;
      this.#deps.log.debug({ err: error, waitMs }, 'the stream to delivery is not open');
      await this.#deps.clock.sleep(waitMs, signal).catch(() => {});
      waitMs = Math.min(MAX_REDIAL_MS, waitMs * 2);
    }
  }

  /** outbound.db has rows or acks up to this seq. */
  ring(seq: number): void {
    this.#outbox = seq;
    this.#send({ $case: 'outbox', value: { seq } });
  }

  /** What the model has said so far. Lost when no stream is open: the next one replaces it. */
  partial(value: attach.PartialText): void {
    this.#send({ $case: 'partial', value });
  }

  report(progress: Progress): void {
    const now = this.#deps.clock.now();
    const last = this.#progress;
    const same =
      last.phase === progress.phase &&
      last.activity === progress.activity &&
      last.turn === progress.turn &&
      last.deadlineMs === progress.deadlineMs;
    if (same && now - this.#progressAt < PROGRESS_MS) return;
    this.#progress = progress;
    this.#progressAt = now;
    this.#sendProgress();
  }

  /** The agent's background jobs run until then at the latest, ms since 1970; 0: none that has a deadline. */
  jobs(until: number): void {
    if (until === this.#jobsUntil) return;
    this.#jobsUntil = until;
    this.#sendProgress();
  }

  /** The last word on the stream. Returns when it is on its way, or after `ms` when nobody takes it. */
  async drained(value: attach.Drained, ms: number): Promise<void> {
    this.#ending = true; // delivery closes the stream in answer: no reason to dial again
    const stream = this.#stream;
    if (stream === undefined) return;
    const closed = new AbortController();
    const done = new Promise<void>((resolve) => {
      stream.once('close', resolve);
      stream.once('error', () => resolve());
      stream.once('end', resolve);
    });
    this.#send({ $case: 'drained', value });
    stream.end();
    await Promise.race([done, this.#deps.clock.sleep(ms, closed.signal).catch(() => {})]);
    closed.abort();
  }

  #send(message: NonNullable<attach.AttachRequest['message']>): void {
    this.#stream?.write({ message });
  }

  #sendProgress(): void {
    const { phase, turn, activity, deadlineMs } = this.#progress;
    const value = { phase: PHASES[phase], turnId: turn, activity, deadlineMs, atMs: this.#progressAt, jobsUntilMs: this.#jobsUntil };
    this.#send({ $case: 'progress', value });
  }

  /** One dial, until the stream ends. A client of its own each time: a channel that lives on caches addresses that are gone. */
  async #once(signal: AbortSignal): Promise<{ readonly welcomed: boolean; readonly error: Error | undefined }> {
    const client = new attach.AttachClient(this.#deps.address, credentials.createInsecure(), {
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.use_local_subchannel_pool': 1,
    });
    const ended = new AbortController();
    let welcomed = false;
    try {
      const metadata = new Metadata();
      metadata.set('authorization', `Bearer ${(await readFile(this.#deps.tokenFile, 'utf8')).trim()}`);
      const stream = client.attach(metadata);
      const cancel = (): void => stream.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      if (signal.aborted) cancel(); // while the token was read: nobody would ever end the stream
      const impatience = this.#deps.clock.sleep(WELCOME_MS, ended.signal).then(
        () => welcomed || stream.cancel(),
        () => {},
      );
      const error = await new Promise<Error | undefined>((resolve) => {
        stream.on('error', resolve);
        stream.on('end', () => resolve(undefined));
        stream.on('data', (response: attach.AttachResponse) => {
          if (response.message?.$case === 'welcome') {
            welcomed = true;
            this.#stream = stream;
          }
          this.#onResponse(response);
        });
        stream.write({ message: { $case: 'hello', value: this.#deps.hello } });
      });
      this.#stream = undefined;
      signal.removeEventListener('abort', cancel);
      ended.abort();
      await impatience;
      return { welcomed, error };
    } catch (e) {
      return { welcomed, error: toError(e) }; // the token file is not there yet
    } finally {
      this.#stream = undefined;
      ended.abort();
      client.close();
    }
  }

  #onResponse({ message }: attach.AttachResponse): void {
    switch (message?.$case) {
      case 'welcome':
        this.#deps.onCallerSecret(message.value.callerSecret);
        this.#sendProgress();
        if (this.#outbox > 0) this.#send({ $case: 'outbox', value: { seq: this.#outbox } });
        this.#deps.onDoorbell();
        return;
      case 'inbox':
      case 'projection':
        this.#deps.onDoorbell(); // the projection is read anew at each step
        return;
      case 'drain':
        this.#deps.onDrain(message.value.reason === '' ? 'Idle' : message.value.reason, message.value.deadlineMs);
        return;
      default:
        return;
    }
  }
}
