/** What delivery knows of the cluster: four caches, each filled by a reflector for as long as the process lives. */
import type { AgentGroup, Channel, Destination, Session } from '@dovecote/crds';
import { type FillDeps, keepFilled } from '../kube/keep-filled.ts';
import { ResourceCache } from '../kube/resource-cache.ts';
import { agentGroups, channels, destinations, sessions } from '../kube/resource-types.ts';
import type { KubeObject, ResourceType, Selector } from '../kube/store.ts';
import type { TaskGroup } from '../lib/task-group.ts';

export interface Resources {
  readonly agentGroups: ResourceCache<AgentGroup>;
  readonly channels: ResourceCache<Channel>;
  readonly destinations: ResourceCache<Destination, 'agentGroup'>;
  /** Those of this shard. */
  readonly sessions: ResourceCache<Session>;
}

export interface ResourcesDeps extends FillDeps {
  readonly shard: string;
}

/** Caches that nothing fills yet, so that listeners can be added before the first object arrives. */
export function createResources({ log, clock }: ResourcesDeps): Resources {
  return {
    agentGroups: new ResourceCache({ log, clock }),
    channels: new ResourceCache({ log, clock }),
    destinations: new ResourceCache({ log, clock, indexes: { agentGroup: (d: Destination) => [d.spec.agentGroupRef] } }),
    sessions: new ResourceCache({ log, clock }),
  };
}

/** Starts filling them. Resolves when each has seen a whole list. */
export async function fillResources(resources: Resources, deps: ResourcesDeps, tasks: TaskGroup): Promise<void> {
  const fill = <T extends KubeObject>(type: ResourceType<T>, cache: ResourceCache<T, never>, selector?: Selector): Promise<void> => {
    keepFilled(type, cache, deps, tasks, selector);
    return cache.synced(tasks.signal);
  };
  await Promise.all([
    fill(agentGroups, resources.agentGroups),
    fill(channels, resources.channels),
    fill(destinations, resources.destinations as ResourceCache<Destination>),
    fill(sessions, resources.sessions, { fields: { 'spec.shard': deps.shard } }),
  ]);
}
