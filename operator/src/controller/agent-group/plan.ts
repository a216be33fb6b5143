/** What is decided about an AgentGroup. Pure. */
import type { NetworkPolicy, ServiceAccount } from '../../kube/resource-types.ts';
import type { NewObject } from '../../kube/store.ts';
import type { NetworkConfig } from '../config.ts';
import { RECHECK_MS } from '../credentials.ts';
import { buildNetworkPolicy } from './network-policy.ts';
import type { Observed } from './observe.ts';
import { buildServiceAccount } from './service-account.ts';
import { assignShards } from './shards.ts';

export interface Plan {
  readonly serviceAccount: NewObject<ServiceAccount>;
  /** undefined: there is to be none */
  readonly networkPolicy: NewObject<NetworkPolicy> | undefined;
  /** The home shard first. */
  readonly shards: readonly string[];
  readonly sessions: number;
  readonly awakeSessions: number;
  readonly resyncMs: number;
}

export function plan(
  { agentGroup, credentials, mcpCredentials, skills, sessions, availableShards, load }: Observed,
  network: NetworkConfig,
): Plan {
  return {
    serviceAccount: buildServiceAccount(agentGroup),
    networkPolicy: network.enabled ? buildNetworkPolicy(agentGroup, network) : undefined,
    shards: assignShards({
      count: agentGroup.spec.shards.count,
      assigned: agentGroup.status?.shards ?? [],
      ofSessions: sessions.map(({ spec }) => spec.shard),
      available: availableShards,
      load,
    }),
    sessions: sessions.length,
    awakeSessions: sessions.filter(({ status }) => status?.phase === 'Awake').length,
    resyncMs: [credentials, mcpCredentials, skills].every((found) => found === undefined || found.status === 'True')
      ? RECHECK_MS.found
      : RECHECK_MS.missing,
  };
}
