/** What the gateway reads of the cluster: caches that someone else fills. */
import type { AgentGroup, Channel, MessagingGroup } from '@dovecote/crds';
import { isSessionOf } from '../lib/session-name.ts';
import { ChatIndex } from './routing/chat-match.ts';

/** What a ResourceCache offers, as far as the gateway uses it. */
export interface ReadableCache<T> {
  get(name: string): T | undefined;
  list(): readonly T[];
  readonly hasSynced: boolean;
  /** Called synchronously after each change. */
  onChange(listener: (change: { readonly object: T }) => void): () => void;
}

export interface GatewayCaches {
  readonly channels: ReadableCache<Channel>;
  readonly messagingGroups: ReadableCache<MessagingGroup>;
  readonly agentGroups: ReadableCache<AgentGroup>;
}

export class GatewayObjects {
  readonly #caches: GatewayCaches;
  readonly #unsubscribe: readonly (() => void)[];
  #chats: ChatIndex | undefined;
  #shards: readonly string[] | undefined;

  constructor(caches: GatewayCaches) {
    this.#caches = caches;
    this.#unsubscribe = [
      caches.messagingGroups.onChange(() => {
        this.#chats = undefined;
      }),
      caches.agentGroups.onChange(() => {
        this.#shards = undefined;
      }),
    ];
  }

  /** Before that, a chat may look unwired that is not. */
  get synced(): boolean {
    return this.#caches.channels.hasSynced && this.#caches.messagingGroups.hasSynced && this.#caches.agentGroups.hasSynced;
  }

  chats(): ChatIndex {
    this.#chats ??= new ChatIndex(this.#caches.messagingGroups.list());
    return this.#chats;
  }

  agentGroup(name: string): AgentGroup | undefined {
    return this.#caches.agentGroups.get(name);
  }

  /** Every shard that holds any agent. */
  shards(): readonly string[] {
    this.#shards ??= [...new Set(this.#caches.agentGroups.list().flatMap((agent) => agent.status?.shards ?? []))].sort();
    return this.#shards;
  }

  /** Where a session may be: on the shards of the agents whose sessions are named so; on any, when we know no such agent. */
  shardsOfSession(session: string): readonly string[] {
    const agents = this.#caches.agentGroups.list().filter(({ metadata }) => isSessionOf(session, metadata.name));
    return agents.length === 0 ? this.shards() : [...new Set(agents.flatMap(({ status }) => status?.shards ?? []))];
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }
}
