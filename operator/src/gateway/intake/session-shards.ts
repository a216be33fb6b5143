import type { AgentGroup } from '@dovecote/crds';
import { LRUCache } from 'lru-cache';
import { sessions } from '../../kube/resource-types.ts';
import type { ResourceStore } from '../../kube/store.ts';
import type { Clock } from '../../lib/clock.ts';
import { toError, WaitingError } from '../../lib/errors.ts';
import { shardOf } from '../../lib/rendezvous.ts';
import { sessionName } from '../../lib/session-name.ts';

/** A conversation stays where it is: what is known of it is believed for so long. */
const KNOWN = { max: 50_000, ttl: 10 * 60_000 };

/**
 * The shard of a conversation. An agent with one shard has them all there. Of one with several a conversation is where its Session says;
 * only one that does not exist yet goes by its hash: an agent that gets a further shard would else lose those that hash to that one.
 */
export class SessionShards {
  readonly #store: Pick<ResourceStore, 'get'>;
  readonly #known: LRUCache<string, string>;

  constructor({ store, clock }: { readonly store: Pick<ResourceStore, 'get'>; readonly clock: Clock }) {
    this.#store = store;
    this.#known = new LRUCache({ ...KNOWN, perf: { now: () => clock.now() } });
  }

  /** Throws WaitingError: the agent is so new that it has no shard, or the API server does not say where the conversation is. */
  async of({ metadata: { name, uid }, status }: AgentGroup, scope: string, signal: AbortSignal): Promise<string> {
    const shards = status?.shards ?? [];
    const shard = shardOf(shards, uid, scope);
    if (shard === undefined) throw new WaitingError('NoShard', `cannot store the event: AgentGroup ${name} has no shard yet`, 1_000);
    if (shards.length === 1) return shard;
    const session = sessionName(name, uid, scope, 1);
    // Also of one that is not there yet: as long as the shards are the same, it is made where it hashes to.
    const key = `${session} ${shards.join(' ')}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = (await this.#ofSession(session, signal)) ?? shard;
    this.#known.set(key, found);
    return found;
  }

  /** undefined: it does not exist yet. */
  async #ofSession(session: string, signal: AbortSignal): Promise<string | undefined> {
    try {
      return (await this.#store.get(sessions, session, { signal }))?.spec.shard;
    } catch (thrown) {
      signal.throwIfAborted();
      const cause = toError(thrown);
      throw new WaitingError('NoShard', `cannot tell on which shard session ${session} is: ${cause.message}`, 1_000, { cause });
    }
  }
}
