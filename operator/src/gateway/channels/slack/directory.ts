import type { WebClient } from '@slack/web-api';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../../lib/clock.ts';
import { abandonAfter } from '../../../lib/deadline.ts';
import { within } from './web-api.ts';

const KEEP_MS = 60 * 60_000;
const KEEP_FAILURE_MS = 60_000;
/** Slack waits three seconds for the whole event: a name may not cost most of them. */
const LOOKUP_MS = 1_000;

/** Names of people. Events carry ids alone. */
export class SlackDirectory {
  readonly #client: WebClient;
  readonly #clock: Clock;
  readonly #names: LRUCache<string, Promise<string>>;

  constructor(client: WebClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
    this.#names = new LRUCache({ max: 10_000, ttl: KEEP_MS, perf: { now: () => clock.now() } });
  }

  /** The id itself when there is no name to be had in time. Never rejects. */
  name(user: string): Promise<string> {
    const known = this.#names.get(user);
    if (known !== undefined) return known;
    const looked = this.#look(user).catch(() => {
      this.#names.set(user, looked, { ttl: KEEP_FAILURE_MS });
      return user;
    });
    this.#names.set(user, looked);
    return looked;
  }

  async #look(user: string): Promise<string> {
    const { user: found } = await abandonAfter({ ms: LOOKUP_MS, what: 'look up a name', clock: this.#clock, signal: undefined }, (signal) =>
      within(signal, () => this.#client.users.info({ user })),
    );
    return found?.profile?.display_name || found?.profile?.real_name || found?.real_name || found?.name || user;
  }
}
