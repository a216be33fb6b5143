import type { Channel } from '@dovecote/crds';
import type { Clock } from '../../lib/clock.ts';
import { TokenBucket } from '../token-bucket.ts';

interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** How fast we call each platform: what the Channel says, else what the platform is known to bear. */
export class Pace {
  readonly #clock: Clock;
  readonly #buckets = new Map<string, { readonly rate: Rate; readonly bucket: TokenBucket }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits up to `maxWaitMs` for a call's turn. 0: go; else how long (ms) to stay away, having taken nothing. */
  async take(channel: Channel, usual: Rate, maxWaitMs: number): Promise<number> {
    const { rateLimit } = channel.spec;
    const rate: Rate = rateLimit === undefined ? usual : { perSecond: rateLimit.perSecond, burst: rateLimit.burst ?? rateLimit.perSecond };
    const { bucket } = this.#bucket(channel.metadata.name, rate);
    const until = this.#clock.now() + maxWaitMs;
    for (;;) {
      const now = this.#clock.now();
      const token = bucket.take(now);
      if (token.taken) return 0;
      if (now + token.waitMs > until) return token.waitMs;
      await this.#clock.sleep(token.waitMs, new AbortController().signal);
    }
  }

  #bucket(name: string, rate: Rate): { readonly bucket: TokenBucket } {
    const known = this.#buckets.get(name);
    if (known !== undefined && known.rate.perSecond === rate.perSecond && known.rate.burst === rate.burst) return known;
    const made = { rate, bucket: new TokenBucket(rate, this.#clock.now()) };
    this.#buckets.set(name, made);
    return made;
  }
}
