import type { AgentGroup, Session } from '@dovecote/crds';
import type { ResourceCache } from '../../kube/resource-cache.ts';
import type { Pod } from '../../kube/resource-types.ts';
import type { OwnWrites } from '../own-writes.ts';
import type { Observed } from './plan.ts';
import { buildPod, templateHashOf } from './pod.ts';
import type { PodRuntime } from './runtime.ts';

/** The index of delivery's Pods by their shard. */
export const BY_SHARD = 'shard';

export interface Sight {
  readonly sessions: OwnWrites<Session>;
  readonly pods: OwnWrites<Pod>;
  readonly agentGroups: Pick<ResourceCache<AgentGroup, never>, 'get'>;
  readonly deliveryPods: Pick<ResourceCache<Pod, typeof BY_SHARD>, 'byIndex'>;
  readonly runtime: PodRuntime;
  readonly clock: { now(): number };
}

/** All that a pass decides on, gathered once. undefined: there is no such Session. */
export function observe(name: string, { sessions, pods, agentGroups, deliveryPods, runtime, clock }: Sight): Observed | undefined {
  const session = sessions.get(name);
  if (session === undefined) return undefined;
  const agentGroup = agentGroups.get(session.spec.agentGroupRef);
  const pod = pods.get(name);
  const { refused } = session.status ?? {};
  const compared = agentGroup !== undefined && (pod !== undefined || refused !== undefined);
  const wanted = compared ? templateHashOf(buildPod(session, agentGroup, runtime, 0)) : undefined;
  return {
    session,
    agentGroup,
    pod,
    deliveryNodes: nodesOf(deliveryPods.byIndex(BY_SHARD, session.spec.shard)),
    outdated: pod !== undefined && wanted !== undefined && templateHashOf(pod) !== wanted,
    stillRefused: refused !== undefined && refused.template === wanted,
    ownKernelRuntimes: runtime.ownKernelRuntimes,
    now: clock.now(),
  };
}

/** Nodes that a delivery Pod is on, or is bound for, and means to stay on. */
function nodesOf(deliveryPods: readonly Pod[]): readonly string[] {
  return deliveryPods.flatMap(({ metadata, spec, status }) => {
    const leaves = metadata.deletionTimestamp !== undefined || status?.phase === 'Failed' || status?.phase === 'Succeeded';
    return leaves || spec?.nodeName === undefined ? [] : [spec.nodeName];
  });
}
