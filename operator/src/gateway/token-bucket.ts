/** So many at once, so many a second. Not shared between replicas: each lets its own share through. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  constructor(rate: { readonly perSecond: number; readonly burst: number }, now: number) {
    this.#perMs = rate.perSecond / 1_000;
    this.#burst = rate.burst;
    this.#tokens = rate.burst;
    this.#at = now;
  }

  /** Takes one token, or says how long (ms) until there is one. */
  take(now: number): { readonly taken: true } | { readonly taken: false; readonly waitMs: number } {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, now - this.#at) * this.#perMs);
    this.#at = now;
    if (this.#tokens >= 1) {
      this.#tokens -= 1;
      return { taken: true };
    }
    return { taken: false, waitMs: Math.ceil((1 - this.#tokens) / this.#perMs) };
  }
}
