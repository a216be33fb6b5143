/**
 * Who is sending. A lane is one chat (and thread) of one session: in it one row at a time, in order; lanes do not wait for each other.
 * Nothing here is remembered: which row is next is asked of the ledger each time.
 */
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { parseLane } from './address.ts';
import type { RateLimiter } from './rate-limit.ts';
import type { Slots } from './slots.ts';

/** The work on a lane's rows. `C` is a row that was committed as sending. */
export interface LaneWork<C> {
  /** Whether a row is due. Synchronous, cheap. */
  isDue(session: string, lane: string): boolean;
  /** Commits the row whose turn it is as sending. undefined: none after all. */
  claim(session: string, lane: string): C | undefined;
  /** Performs it until its outcome is recorded. `mayGoOn` is asked at the record: if so, the next row is claimed in the same commit. */
  perform(claim: C, mayGoOn: () => boolean, signal: AbortSignal): Promise<C | undefined>;
  /** The lane stopped for an error of ours. */
  stopped(session: string, lane: string): void;
}

export class Lanes<C> {
  readonly #work: LaneWork<C>;
  readonly #slots: Slots;
  readonly #limiter: RateLimiter;
  readonly #log: Log;
  readonly #running = new Map<string, Promise<void>>();
  readonly #entered = new Set<string>();
  readonly #stop = new AbortController();
  readonly #cut = new AbortController();

  constructor(deps: { readonly work: LaneWork<C>; readonly slots: Slots; readonly limiter: RateLimiter; readonly log: Log }) {
    this.#work = deps.work;
    this.#slots = deps.slots;
    this.#limiter = deps.limiter;
    this.#log = deps.log;
  }

  isRunning(session: string, lane: string): boolean {
    return this.#running.has(key(session, lane)) || this.#entered.has(key(session, lane));
  }

  /** Leave to claim and send one row right now; then `start` or `leave`. False: call `wake` instead. */
  tryEnter(session: string, lane: string): boolean {
    const to = parseLane(lane);
    if (this.#stop.signal.aborted || this.isRunning(session, lane)) return false;
    if (!this.#slots.tryTake(to.channel)) return false;
    if (!this.#limiter.tryEnter(to.channel, to.chat)) {
      this.#slots.release(to.channel);
      return false;
    }
    this.#entered.add(key(session, lane));
    return true;
  }

  /** After tryEnter, when there was nothing to claim or its commit failed. */
  leave(session: string, lane: string): void {
    this.#entered.delete(key(session, lane));
    this.#slots.release(parseLane(lane).channel);
  }

  /** After tryEnter, with what was claimed. */
  start(session: string, lane: string, claim: C): void {
    this.#entered.delete(key(session, lane));
    this.#begin(session, lane, claim);
  }

  /** Something may be due there. */
  wake(session: string, lane: string): void {
    if (this.#stop.signal.aborted || this.isRunning(session, lane)) return;
    this.#begin(session, lane, undefined);
  }

  /** No new rows; what is being sent gets until `cut` aborts, and is then left as sending for the next start. */
  async close(cut: (running: Promise<unknown>) => Promise<void>): Promise<void> {
    this.#stop.abort(new Error('the outbox is closing'));
    const running = Promise.allSettled(this.#running.values());
    await cut(running);
    this.#cut.abort(new Error('the outbox is closing'));
    await running;
  }

  #begin(session: string, lane: string, claim: C | undefined): void {
    const id = key(session, lane);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running.set(id, promise); // before the first step, which may ask isRunning
    const done = (): void => {
      this.#running.delete(id);
      resolve();
    };
    this.#run(session, lane, claim, done).then(undefined, (thrown: unknown) => {
      done();
      if (this.#stop.signal.aborted) return;
      this.#log.error({ session, lane, err: toError(thrown) }, 'sending in a lane failed');
      this.#work.stopped(session, lane);
    });
  }

  /** `done` is called in the same turn as the last look at the ledger: a row written after it finds the lane free. */
  async #run(session: string, lane: string, first: C | undefined, done: () => void): Promise<void> {
    const to = parseLane(lane);
    let claim = first;
    let slot = first !== undefined;
    try {
      for (;;) {
        if (claim === undefined) {
          if (slot) this.#slots.release(to.channel);
          slot = false;
          if (this.#stop.signal.aborted || !this.#work.isDue(session, lane)) return done();
          await this.#limiter.enter(to.channel, to.chat, this.#stop.signal);
          await this.#slots.take(to.channel, this.#stop.signal);
          slot = true;
          claim = this.#work.claim(session, lane);
          if (claim === undefined) return done();
        }
        const mayGoOn = (): boolean =>
          !this.#stop.signal.aborted && !this.#slots.hasWaiting(to.channel) && this.#limiter.tryEnter(to.channel, to.chat);
        claim = await this.#work.perform(claim, mayGoOn, this.#cut.signal);
      }
    } finally {
      if (slot) this.#slots.release(to.channel);
    }
  }
}

function key(session: string, lane: string): string {
  return `${session} ${lane}`;
}
