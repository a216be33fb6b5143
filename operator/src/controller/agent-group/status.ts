/** AgentGroup.status in one place. Pure. */
import { type AgentGroupStatus, ConditionType, Reason } from '@dovecote/crds';
import { type Draft, withConditions } from '../conditions.ts';
import type { Observed } from './observe.ts';
import type { Plan } from './plan.ts';

export function statusOf({ agentGroup, credentials, now }: Observed, { shards, sessions, awakeSessions }: Plan): AgentGroupStatus {
  const assigned = shardsCondition(agentGroup.spec.shards.count, shards);
  const found: Draft | undefined = credentials === undefined ? undefined : { type: ConditionType.CredentialsFound, ...credentials };
  const failing = [found, assigned].find((draft) => draft !== undefined && draft.status !== 'True');
  const ready: Draft =
    failing === undefined
      ? { type: ConditionType.Ready, status: 'True', reason: Reason.Accepted, message: 'It can answer.' }
      : { ...failing, type: ConditionType.Ready };
  return withConditions(
    { ...(shards.length > 0 && { shards: [...shards] }), sessions, awakeSessions },
    [ready, assigned, ...(found === undefined ? [] : [found])],
    { before: agentGroup.status, generation: agentGroup.metadata.generation, now },
  );
}

function shardsCondition(count: number, shards: readonly string[]): Draft {
  const type = ConditionType.ShardsAssigned;
  if (shards.length >= count) {
    const kept = shards.length > count ? ' It keeps what it has: conversations are on them.' : '';
    return { type, status: 'True', reason: Reason.Assigned, message: `Its sessions are on ${named(shards)}.${kept}` };
  }
  const have = shards.length === 0 ? 'none is there' : `only ${named(shards)} can be had`;
  const message = `It asks for ${count} ${count === 1 ? 'shard' : 'shards'}, and ${have}. Add replicas of delivery, or ask for fewer.`;
  return { type, status: 'False', reason: Reason.NoShard, message };
}

function named(shards: readonly string[]): string {
  return `${shards.length === 1 ? 'shard' : 'shards'} ${shards.join(', ')}`;
}
