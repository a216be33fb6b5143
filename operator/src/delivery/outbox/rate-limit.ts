/**
 * How fast each platform is called. The buckets are in memory: a process does not know what the one before it sent last, so each bucket
 * counts as emptied when this one began, but for one call. What comes soon after a restart may wait a little; no restart bursts above
 * what the platform allows, and the first message of a quiet chat never waits.
 */
import type { Channel } from '@dovecote/crds';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../lib/clock.ts';
import { type Rate, TokenBucket } from '../../lib/token-bucket.ts';
import type { Channels } from './address.ts';

/** What a platform allows: of the whole account, and of one chat. */
interface Allowance {
  readonly account: Rate;
  readonly chat: (chat: string) => Rate;
}

const PLATFORM: Readonly<Record<Channel['spec']['type'], Allowance | undefined>> = {
  local: undefined,
  // chat.postMessage: about one a second per channel with short bursts; some hundreds a minute in a workspace.
  slack: { account: { perSecond: 5, burst: 50 }, chat: () => ({ perSecond: 1, burst: 4 }) },
  // Bots FAQ: 30 a second over all chats, one a second in a chat, 20 a minute in a group (whose id is negative).
  telegram: {
    account: { perSecond: 30, burst: 30 },
    chat: (chat) => (chat.startsWith('-') ? { perSecond: 20 / 60, burst: 5 } : { perSecond: 1, burst: 3 }),
  },
};

/** Chats whose buckets are kept; one that drops out begins anew. */
const MAX_CHATS = 10_000;

interface Buckets {
  readonly key: string;
  readonly account: TokenBucket | undefined;
  readonly chatRate: ((chat: string) => Rate) | undefined;
  readonly chats: LRUCache<string, TokenBucket>;
}

export class RateLimiter {
  readonly #channels: Channels;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Buckets>();
  readonly #since: number;

  /** `since`: from when on nobody else called in our place, ms since 1970. */
  constructor(channels: Channels, clock: Clock, since: number = clock.now()) {
    this.#channels = channels;
    this.#clock = clock;
    this.#since = since;
  }

  /** Leave for one call at once, or none at all. */
  tryEnter(channel: string, chat: string): boolean {
    const now = this.#clock.now();
    const buckets = this.#of(channel);
    const own = this.#chatBucket(buckets, chat);
    if ((own?.available(now) ?? 1) < 1 || (buckets.account?.available(now) ?? 1) < 1) return false;
    own?.tryTake(now);
    buckets.account?.tryTake(now);
    return true;
  }

  /** Leave for a call that may as well be left out: only when another could be made right behind it. */
  tryEnterSpare(channel: string, chat: string): boolean {
    const now = this.#clock.now();
    const buckets = this.#of(channel);
    const spare = (bucket: TokenBucket | undefined): boolean => (bucket?.available(now) ?? 2) >= 2;
    return spare(buckets.account) && spare(this.#chatBucket(buckets, chat)) && this.tryEnter(channel, chat);
  }

  /** Waits for leave for one call. Rejects with the signal's reason. */
  async enter(channel: string, chat: string, signal: AbortSignal): Promise<void> {
    // The chat first: one that waits for itself must not hold a token of the account, which the other chats need.
    await this.#wait(this.#chatBucket(this.#of(channel), chat), signal);
    await this.#wait(this.#of(channel).account, signal);
  }

  async #wait(bucket: TokenBucket | undefined, signal: AbortSignal): Promise<void> {
    const ms = bucket?.reserve(this.#clock.now()) ?? 0;
    if (ms > 0) await this.#clock.sleep(ms, signal);
  }

  #of(name: string): Buckets {
    const spec = this.#channels.get(name)?.spec;
    const key = JSON.stringify([spec?.type, spec?.rateLimit]);
    const known = this.#buckets.get(name);
    if (known?.key === key) return known;
    const own = spec?.rateLimit;
    const allowance = own === undefined && spec !== undefined ? PLATFORM[spec.type] : undefined;
    const account = own === undefined ? allowance?.account : { perSecond: own.perSecond, burst: own.burst ?? own.perSecond };
    const made: Buckets = {
      key,
      account: account === undefined ? undefined : new TokenBucket(account, this.#since, 1),
      chatRate: allowance?.chat,
      chats: new LRUCache({ max: MAX_CHATS }),
    };
    this.#buckets.set(name, made);
    return made;
  }

  #chatBucket({ chatRate, chats }: Buckets, chat: string): TokenBucket | undefined {
    if (chatRate === undefined) return undefined;
    let bucket = chats.get(chat);
    if (bucket === undefined) {
      bucket = new TokenBucket(chatRate(chat), this.#since, 1);
      chats.set(chat, bucket);
    }
    return bucket;
  }
}
