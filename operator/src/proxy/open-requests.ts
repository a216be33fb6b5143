import type { Clock } from '../lib/clock.ts';
import type { SessionCaller } from './authentication.ts';
import { Refusal } from './refusal.ts';

/** The client is gone: nothing is wrong, and nothing can be said to anybody. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
}
/** The request took as long as any may, or its token ended. */
export class TimeUpError extends Error {
  override readonly name = 'TimeUpError';
}

/** A reason of its own would be made, with its stack, for each request. */
const ENDED = new Error('the request ended');

/** What is open, by session. */
export class OpenRequests {
  readonly #bySession = new Map<string, number>();
  readonly #max: number;
  readonly #clock: Clock;
  #empty = Promise.withResolvers<void>();
  #count = 0;

  constructor(deps: { readonly max: number; readonly clock: Clock }) {
    this.#max = deps.max;
    this.#clock = deps.clock;
  }

  /** Runs `work` as one of the session's requests, for `maxMs` at most. `gone` aborts when its client is gone. Throws Refusal at too many. */
  async run<T>(
    { session, expiresAt }: SessionCaller,
    { maxMs, gone }: { readonly maxMs: number; readonly gone: AbortSignal },
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const open = this.#bySession.get(session) ?? 0;
    if (open >= this.#max)
      throw new Refusal(
        { status: 429, type: 'rate_limit_error', outcome: 'too_many', headers: { 'retry-after': '1' } },
        `this session has ${this.#max} requests open, which is as many as it may`,
      );
    this.#bySession.set(session, open + 1);
    this.#count += 1;
    const ended = new AbortController();
    const timeUp = new AbortController();
    const ms = Math.min(maxMs, expiresAt === undefined ? maxMs : Math.max(0, expiresAt - this.#clock.now()));
    this.#clock.sleep(ms, ended.signal).then(
      () => timeUp.abort(new TimeUpError('the time of the request is up')),
      () => {}, // it ended first
    );
    try {
      return await work(AbortSignal.any([gone, timeUp.signal]));
    } catch (e) {
      timeUp.signal.throwIfAborted(); // whatever broke, broke because of that
      throw e;
    } finally {
      ended.abort(ENDED);
      this.#count -= 1;
      const left = (this.#bySession.get(session) ?? 1) - 1;
      if (left > 0) this.#bySession.set(session, left);
      else this.#bySession.delete(session);
      if (this.#count === 0) {
        this.#empty.resolve();
        this.#empty = Promise.withResolvers();
      }
    }
  }

  /** Resolves when nothing is open, or after `ms`. */
  async drained(ms: number): Promise<void> {
    if (this.#count === 0 || ms === 0) return;
    const ended = new AbortController();
    await Promise.race([this.#empty.promise, this.#clock.sleep(ms, ended.signal).catch(() => {})]);
    ended.abort();
  }
}
