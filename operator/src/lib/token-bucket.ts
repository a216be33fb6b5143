export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Tokens that come back at a steady rate. */
export class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #at: number;

  /** `tokens` at that time (ms); absent: as many as it holds. */
  constructor(rate: Rate, now: number, tokens: number = rate.burst) {
    this.#rate = rate;
    this.#tokens = Math.min(tokens, rate.burst);
    this.#at = now;
  }

  /** How long (ms) until there is one. */
  waitMs(now: number): number {
    return Math.max(0, Math.ceil(((1 - this.available(now)) / this.#rate.perSecond) * 1_000));
  }

  /** Takes `n` if they are there. */
  tryTake(now: number, n = 1): boolean {
    if (this.available(now) < n) return false;
    this.#tokens -= n;
    return true;
  }

  /** Takes one in any case, and answers how long (ms) to wait before using it. */
  reserve(now: number): number {
    this.available(now);
    this.#tokens -= 1;
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / this.#rate.perSecond) * 1_000);
  }

  available(now: number): number {
    // A clock that was set back must not take tokens away.
    const elapsed = Math.max(0, now - this.#at);
    this.#at = now;
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + (elapsed / 1_000) * this.#rate.perSecond);
    return this.#tokens;
  }
}
