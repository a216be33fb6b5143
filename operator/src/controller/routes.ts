/** From a change to the keys that need a look. Each handler puts keys into queues and returns. */
import { type AgentGroup, ConditionType } from '@dovecote/crds';
import { findCondition } from '../kube/conditions.ts';
import type { Change } from '../kube/resource-cache.ts';
import type { KubeObject } from '../kube/store.ts';
import type { WorkQueue } from '../kube/work-queue.ts';
import { BY_AGENT_GROUP } from './agent-group/observe.ts';
import type { Caches } from './caches.ts';
import { Label } from './labels.ts';

export type Queue = Pick<WorkQueue, 'add' | 'addAfter'>;

export interface Queues {
  readonly agentGroups: Queue;
  readonly channels: Queue;
  readonly messagingGroups: Queue;
  readonly destinations: Queue;
  readonly sessions: Queue;
}

/** How many sessions an agent has, and how many are awake, may be this old in its status: a wake costs no write for it. */
const COUNTS_MS = 10_000;

/** Answers with what ends it. */
export function route(caches: Caches, queues: Queues, shardLabel: string): () => void {
  const ends = [
    caches.agentGroups.onChange((change) => {
      const { name } = change.object.metadata;
      queues.agentGroups.add(name);
      if (gateOf(change.previous) !== gateOf(change.type === 'DELETED' ? undefined : change.object)) {
        for (const { metadata, spec } of caches.sessions.byIndex(BY_AGENT_GROUP, name)) if (spec.awake) queues.sessions.add(metadata.name);
      }
      if (comesOrGoes(change)) {
        addAll(queues.messagingGroups, caches.messagingGroups.byIndex('agentGroup', name));
        addAll(queues.destinations, caches.destinations.byIndex('agentGroup', name));
      }
    }),
    caches.channels.onChange((change) => {
      const { name } = change.object.metadata;
      queues.channels.add(name);
      if (comesOrGoes(change)) {
        addAll(queues.messagingGroups, caches.messagingGroups.byIndex('channel', name));
        addAll(queues.destinations, caches.destinations.byIndex('channel', name));
      }
    }),
    caches.messagingGroups.onChange((change) => {
      queues.messagingGroups.add(change.object.metadata.name);
      // Two for the same chats: when the older goes, the other is the one.
      if (comesOrGoes(change)) addAll(queues.messagingGroups, caches.messagingGroups.byIndex('channel', change.object.spec.channelRef));
    }),
    caches.destinations.onChange((change) => {
      queues.destinations.add(change.object.metadata.name);
      const renamed = change.previous?.spec.localName !== change.object.spec.localName;
      if (comesOrGoes(change) || renamed)
        addAll(queues.destinations, caches.destinations.byIndex('agentGroup', change.object.spec.agentGroupRef));
    }),
    caches.sessions.onChange(({ object }) => {
      queues.sessions.add(object.metadata.name);
      queues.agentGroups.addAfter(object.spec.agentGroupRef, COUNTS_MS);
    }),
    caches.pods.onChange(({ object }) => {
      if (object.metadata.labels?.[Label.session] !== undefined) queues.sessions.add(object.metadata.name);
    }),
    caches.deliveryPods.onChange(({ object, previous }) => {
      if (previous !== undefined && previous.spec?.nodeName === object.spec?.nodeName) return;
      // Its sessions must be where it is.
      const shard = object.metadata.labels?.[shardLabel];
      for (const { metadata, spec } of caches.sessions.list()) if (spec.awake && spec.shard === shard) queues.sessions.add(metadata.name);
    }),
  ];
  return () => {
    for (const end of ends) end();
  };
}

/** Everything once: what happened while nobody acted. */
export function addEverything(caches: Caches, queues: Queues): void {
  addAll(queues.agentGroups, caches.agentGroups.list());
  addAll(queues.channels, caches.channels.list());
  addAll(queues.messagingGroups, caches.messagingGroups.list());
  addAll(queues.destinations, caches.destinations.list());
  addAll(queues.sessions, caches.sessions.list());
}

function addAll(queue: Queue, objects: Iterable<KubeObject>): void {
  for (const { metadata } of objects) queue.add(metadata.name);
}

function comesOrGoes({ type }: Change<KubeObject>): boolean {
  return type !== 'MODIFIED';
}

/**
 * All of an AgentGroup that decides whether and what Pods its sessions may have. Its status changes with every session that wakes or sleeps,
 * and that must not wake the keys of all the others.
 */
function gateOf(agentGroup: AgentGroup | undefined): string {
  if (agentGroup === undefined) return '';
  const { metadata, status } = agentGroup;
  const credentials = findCondition(status?.conditions, ConditionType.CredentialsFound);
  const { uid, deletionTimestamp, generation } = metadata;
  return JSON.stringify([
    uid,
    deletionTimestamp,
    generation,
    credentials?.status,
    credentials?.message,
    status?.observedGeneration !== undefined,
  ]);
}
