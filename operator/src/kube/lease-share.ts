/**
 * What a process holds of Leases of which its siblings are to hold as many. Nobody counts replicas: whoever holds less is quicker to take
 * what is free, and asks whoever holds more for one, now and then; the holder gives it away by name. A healthy Lease is never taken.
 */
import type { Clock } from '../lib/clock.ts';
import type { Lease } from './resource-types.ts';

export interface ShareTimes {
  /** Before the next free one, for each that is held; together at most `maxHoldBackMs`. */
  readonly holdBackMs: number;
  readonly maxHoldBackMs: number;
  /** One Lease is asked for, and one is given away, at most this often: moving a connection costs its Channel seconds. */
  readonly moveEveryMs: number;
}

export const SHARE_TIMES: ShareTimes = { holdBackMs: 50, maxHoldBackMs: 250, moveEveryMs: 30_000 };

/** How many Leases its holder has. */
const HELD = 'dovecote.dev/held';
/** "<how many it has> <identity>" of a sibling that has fewer. */
const ASKED_BY = 'dovecote.dev/asked-by';

export class LeaseShare {
  readonly #times: ShareTimes;
  readonly #now: () => number;
  #held = 0;
  #line: Promise<unknown> = Promise.resolve();
  #askedAt = Number.NEGATIVE_INFINITY;
  #gaveAt = Number.NEGATIVE_INFINITY;

  constructor({ times = SHARE_TIMES, monotonicMs = () => performance.now() }: { times?: ShareTimes; monotonicMs?: () => number } = {}) {
    this.#times = times;
    this.#now = monotonicMs;
  }

  took(): void {
    this.#held += 1;
  }

  letGo(): void {
    this.#held -= 1;
  }

  /**
   * Runs `take` when it is its turn to take a free Lease: one behind the other, and the slower the more are held, so that of those that
   * want the same ones each gets as many.
   */
  inTurn<R>(clock: Clock, signal: AbortSignal, take: () => Promise<R>): Promise<R> {
    const turn = this.#line.then(async () => {
      const ms = Math.min(this.#held * this.#times.holdBackMs, this.#times.maxHoldBackMs);
      if (ms > 0) await clock.sleep(ms, signal);
      return take();
    });
    this.#line = turn.catch(() => {}); // whoever called hears of it
    return turn;
  }

  /** What a new Lease says of its holder. */
  held(): Readonly<Record<string, string>> {
    return { [HELD]: String(this.#held) };
  }

  /** As a patch of one that exists: whoever asked before was heard. */
  annotations(): Readonly<Record<string, string | null>> {
    return { ...this.held(), [ASKED_BY]: null };
  }

  /** What to write on another's Lease to get it; undefined: nothing, it has no more than its part, or it is too soon to ask again. */
  ask(lease: Lease, identity: string): Readonly<Record<string, string>> | undefined {
    const theirs = Number(lease.metadata.annotations?.[HELD] ?? Number.NaN);
    const now = this.#now();
    if (!(theirs > this.#held + 1) || now - this.#askedAt < this.#times.moveEveryMs) return undefined;
    this.#askedAt = now;
    return { [ASKED_BY]: `${this.#held} ${identity}` };
  }

  /** Who is to have this Lease of ours from now on. The difference shrinks by each, so nothing goes to and fro. */
  giveTo(lease: Lease): string | undefined {
    const [, theirs, identity] = /^([0-9]{1,6}) (\S{1,253})$/.exec(lease.metadata.annotations?.[ASKED_BY] ?? '') ?? [];
    const now = this.#now();
    if (identity === undefined || this.#held <= Number(theirs) + 1 || now - this.#gaveAt < this.#times.moveEveryMs) return undefined;
    this.#gaveAt = now;
    return identity;
  }
}
