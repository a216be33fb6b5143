import type { AgentGroup, Channel, Destination, MessagingGroup, Session } from '@dovecote/crds';
import { type FillDeps, keepFilled } from '../kube/keep-filled.ts';
import { ResourceCache } from '../kube/resource-cache.ts';
import { agentGroups, channels, destinations, messagingGroups, type Pod, pods, sessions } from '../kube/resource-types.ts';
import type { TaskGroup } from '../lib/task-group.ts';
import { BY_AGENT_GROUP } from './agent-group/observe.ts';
import { DESTINATION_INDEXES } from './destination/observe.ts';
import { Component, Label, MANAGED_LABELS } from './labels.ts';
import { MESSAGING_GROUP_INDEXES } from './messaging-group/observe.ts';
import { BY_SHARD } from './session/observe.ts';

/** What the controller watches. Secrets are not among it: those that are named are read by name. */
export function createCaches({ log, clock, shardLabel }: Pick<FillDeps, 'log' | 'clock'> & { readonly shardLabel: string }) {
  const shardOfPod = ({ metadata }: Pod) => {
    const shard = metadata.labels?.[shardLabel];
    return shard === undefined ? [] : [shard];
  };
  return {
    agentGroups: new ResourceCache<AgentGroup>({ log, clock }),
    channels: new ResourceCache<Channel>({ log, clock }),
    messagingGroups: new ResourceCache<MessagingGroup, keyof typeof MESSAGING_GROUP_INDEXES>({
      log,
      clock,
      indexes: MESSAGING_GROUP_INDEXES,
    }),
    destinations: new ResourceCache<Destination, keyof typeof DESTINATION_INDEXES>({ log, clock, indexes: DESTINATION_INDEXES }),
    sessions: new ResourceCache<Session, typeof BY_AGENT_GROUP>({
      log,
      clock,
      indexes: { [BY_AGENT_GROUP]: ({ spec }) => [spec.agentGroupRef] },
    }),
    pods: new ResourceCache<Pod>({ log, clock }),
    deliveryPods: new ResourceCache<Pod, typeof BY_SHARD>({ log, clock, indexes: { [BY_SHARD]: shardOfPod } }),
  };
}

export type Caches = ReturnType<typeof createCaches>;

/** A watch that was silent for this long is dead, whatever its Reflector thinks. */
const STALE_MS = 600_000;

export function fillCaches(caches: Caches, deps: FillDeps, group: TaskGroup): void {
  keepFilled(agentGroups, caches.agentGroups, deps, group);
  keepFilled(channels, caches.channels, deps, group);
  keepFilled(messagingGroups, caches.messagingGroups, deps, group);
  keepFilled(destinations, caches.destinations, deps, group);
  keepFilled(sessions, caches.sessions, deps, group);
  keepFilled(pods, caches.pods, deps, group, { labels: MANAGED_LABELS });
  keepFilled(pods, caches.deliveryPods, deps, group, { labels: { [Label.component]: Component.delivery } });
}

/** What is missing, as sentences; empty when all have been seen and are fresh. */
export function missingOf(caches: Caches): readonly string[] {
  return Object.entries(caches).flatMap(([kind, cache]) => {
    if (!cache.hasSynced) return [`the list of ${kind} has not been read yet`];
    return cache.lastEventAgeMs() > STALE_MS ? [`nothing was heard of ${kind} for ${Math.round(cache.lastEventAgeMs() / 1_000)} s`] : [];
  });
}
