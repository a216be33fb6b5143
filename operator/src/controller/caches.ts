import type { AgentGroup, Channel, Destination, MessagingGroup, Session } from '@dovecote/crds';
import type { KubeMetrics } from '../kube/metrics.ts';
import { Reflector } from '../kube/reflector.ts';
import { ResourceCache } from '../kube/resource-cache.ts';
import { agentGroups, channels, destinations, messagingGroups, type Pod, pods, sessions } from '../kube/resource-types.ts';
import type { KubeObject, ResourceStore, ResourceType, Selector } from '../kube/store.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { TaskGroup } from '../lib/task-group.ts';
import { BY_AGENT_GROUP } from './agent-group/observe.ts';
import { DESTINATION_INDEXES } from './destination/observe.ts';
import { Component, Label, MANAGED_LABELS } from './labels.ts';
import { MESSAGING_GROUP_INDEXES } from './messaging-group/observe.ts';
import { BY_SHARD } from './session/observe.ts';

export interface CacheDeps {
  readonly store: ResourceStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly kubeMetrics?: KubeMetrics | undefined;
}

/** What the controller watches. Secrets are not among it: those that are named are read by name. */
export function createCaches({ log, clock, shardLabel }: Pick<CacheDeps, 'log' | 'clock'> & { readonly shardLabel: string }) {
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

export function fillCaches(caches: Caches, { store, clock, random, log, kubeMetrics }: CacheDeps, group: TaskGroup): void {
  const fill = <T extends KubeObject>(
    type: ResourceType<T>,
    cache: ConstructorParameters<typeof Reflector<T>>[0]['cache'],
    selector?: Selector,
  ): void => {
    const reflector = new Reflector<T>({
      store,
      type,
      cache,
      clock,
      random,
      log,
      ...(selector !== undefined && { selector }),
      ...(kubeMetrics !== undefined && { metrics: kubeMetrics }),
    });
    group.run(`controller/watch/${type.plural}`, (signal) => reflector.run(signal));
  };
  fill(agentGroups, caches.agentGroups);
  fill(channels, caches.channels);
  fill(messagingGroups, caches.messagingGroups);
  fill(destinations, caches.destinations);
  fill(sessions, caches.sessions);
  fill(pods, caches.pods, { labels: MANAGED_LABELS });
  fill(pods, caches.deliveryPods, { labels: { [Label.component]: Component.delivery } });
}

/** What is missing, as sentences; empty when all have been seen and are fresh. */
export function missingOf(caches: Caches): readonly string[] {
  return Object.entries(caches).flatMap(([kind, cache]) => {
    if (!cache.hasSynced) return [`the list of ${kind} has not been read yet`];
    return cache.lastEventAgeMs() > STALE_MS ? [`nothing was heard of ${kind} for ${Math.round(cache.lastEventAgeMs() / 1_000)} s`] : [];
  });
}
