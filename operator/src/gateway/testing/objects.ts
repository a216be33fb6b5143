/** Test only: custom resources as the caches hold them. */
import { AgentGroup, Channel, type ChannelSpecInput, MessagingGroup, type MessagingGroupSpecInput, parse } from '@dovecote/crds';
import type { GatewayCaches, ReadableCache } from '../objects.ts';

let serial = 0;

const metadata = (name: string): object => {
  serial += 1;
  return {
    name,
    namespace: 'test',
    uid: `uid-${name}`,
    resourceVersion: String(serial),
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
  };
};

export function channel(name: string, spec: ChannelSpecInput): Channel {
  return parse(Channel, { apiVersion: 'dovecote.dev/v1alpha1', kind: 'Channel', metadata: metadata(name), spec });
}

export function messagingGroup(name: string, spec: MessagingGroupSpecInput): MessagingGroup {
  return parse(MessagingGroup, { apiVersion: 'dovecote.dev/v1alpha1', kind: 'MessagingGroup', metadata: metadata(name), spec });
}

/** All chats of that Channel go to one agent, whatever is said. */
export function anyChat(channelRef: string, agentGroupRef = 'helper'): MessagingGroup {
  return messagingGroup('any', {
    channelRef,
    chatClass: 'Any',
    unknownSenders: 'Public',
    agents: [{ agentGroupRef, engage: { mode: 'Always' } }],
  });
}

export function agentGroup(name: string, shards: readonly string[] = ['0']): AgentGroup {
  return parse(AgentGroup, {
    apiVersion: 'dovecote.dev/v1alpha1',
    kind: 'AgentGroup',
    metadata: metadata(name),
    spec: { provider: { type: 'demo' } },
    status: { shards: [...shards] },
  });
}

/** A cache that a test fills by hand. */
export class HandCache<T extends { readonly metadata: { readonly name: string } }> implements ReadableCache<T> {
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<(change: { readonly object: T }) => void>();
  hasSynced = true;

  constructor(objects: readonly T[] = []) {
    for (const object of objects) this.#objects.set(object.metadata.name, object);
  }

  get(name: string): T | undefined {
    return this.#objects.get(name);
  }

  list(): readonly T[] {
    return [...this.#objects.values()];
  }

  onChange(listener: (change: { readonly object: T }) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(object: T): void {
    this.#objects.set(object.metadata.name, object);
    for (const listener of this.#listeners) listener({ object });
  }

  delete(name: string): void {
    const object = this.#objects.get(name);
    this.#objects.delete(name);
    if (object !== undefined) for (const listener of this.#listeners) listener({ object });
  }
}

export interface HandCaches extends GatewayCaches {
  readonly channels: HandCache<Channel>;
  readonly messagingGroups: HandCache<MessagingGroup>;
  readonly agentGroups: HandCache<AgentGroup>;
}

export function handCaches(objects: {
  readonly channels?: readonly Channel[];
  readonly messagingGroups?: readonly MessagingGroup[];
  readonly agentGroups?: readonly AgentGroup[];
}): HandCaches {
  return {
    channels: new HandCache(objects.channels),
    messagingGroups: new HandCache(objects.messagingGroups),
    agentGroups: new HandCache(objects.agentGroups),
  };
}
