import type { AgentGroup, Session } from '@dovecote/crds';
import type { ResourceCache } from '../../kube/resource-cache.ts';
import type { Pod } from '../../kube/resource-types.ts';
import type { OwnWrites } from '../own-writes.ts';
import type { Observed } from './plan.ts';
import type { PodRuntime } from './runtime.ts';

export interface Sight {
  readonly sessions: OwnWrites<Session>;
  readonly pods: OwnWrites<Pod>;
  readonly agentGroups: Pick<ResourceCache<AgentGroup, never>, 'get'>;
  readonly runtime: PodRuntime;
  readonly clock: { now(): number };
}

/** All that a pass decides on, gathered once. undefined: there is no such Session. */
export function observe(name: string, { sessions, pods, agentGroups, runtime, clock }: Sight): Observed | undefined {
  const session = sessions.get(name);
  if (session === undefined) return undefined;
  return {
    session,
    agentGroup: agentGroups.get(session.spec.agentGroupRef),
    pod: pods.get(name),
    ownKernelRuntimes: runtime.ownKernelRuntimes,
    now: clock.now(),
  };
}
