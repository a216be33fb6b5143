import type { AgentGroup } from '@dovecote/crds';
import { WaitingError } from '../../lib/errors.ts';
import { shardOf } from '../../lib/rendezvous.ts';

/** The shard of that agent's conversation. Throws WaitingError for an agent so new that it has none. */
export function shardFor(agent: AgentGroup, scope: string): string {
  const shard = shardOf(agent.status?.shards ?? [], agent.metadata.uid, scope);
  if (shard === undefined)
    throw new WaitingError('NoShard', `cannot store the event: AgentGroup ${agent.metadata.name} has no shard yet`, 1_000);
  return shard;
}
