/** AgentGroup.status in one place. Pure. */
import { type AgentGroupStatus, ConditionType, Reason } from '@dovecote/crds';
import { jsonEqual } from '../../kube/json.ts';
import { type Draft, withConditions } from '../conditions.ts';
import type { Observed } from './observe.ts';
import type { Plan } from './plan.ts';

export function statusOf(
  { agentGroup, credentials, mcpCredentials, skills, now }: Observed,
  { shards, sessions, awakeSessions }: Plan,
): AgentGroupStatus {
  const assigned = shardsCondition(agentGroup.spec.shards.count, shards);
  const found: Draft | undefined = credentials === undefined ? undefined : { type: ConditionType.CredentialsFound, ...credentials };
  const mcp: Draft | undefined = mcpCredentials === undefined ? undefined : { type: ConditionType.McpCredentialsFound, ...mcpCredentials };
  const refs: Draft | undefined = skills === undefined ? undefined : { type: ConditionType.RefsResolved, ...skills };
  const failing = [found, assigned].find((draft) => draft !== undefined && draft.status !== 'True');
  const ready: Draft =
    failing === undefined
      ? { type: ConditionType.Ready, status: 'True', reason: Reason.Accepted, message: 'It can answer.' }
      : { ...failing, type: ConditionType.Ready };
  return withConditions(
    { ...(shards.length > 0 && { shards: [...shards] }), sessions, awakeSessions },
    [ready, assigned, found, mcp, refs].filter((draft) => draft !== undefined),
    { before: agentGroup.status, generation: agentGroup.metadata.generation, now },
  );
}

/** Whether all that we would write is there already; WithinBudget stands beside it and is delivery's. */
export function sameOwnStatus(stored: AgentGroupStatus | undefined, ours: AgentGroupStatus): boolean {
  const own = stored?.conditions?.filter(({ type }) => type !== ConditionType.WithinBudget);
  return stored !== undefined && jsonEqual({ ...stored, ...(own !== undefined && { conditions: own }) }, ours);
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
