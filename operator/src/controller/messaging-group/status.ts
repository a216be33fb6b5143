/** MessagingGroup.status in one place. Pure. */
import { type MessagingGroup, type MessagingGroupStatus, Reason } from '@dovecote/crds';
import { withConditions } from '../conditions.ts';
import { referenceConditions } from '../references.ts';
import type { Observed } from './observe.ts';

/** status.agents may hold this many characters. */
const AGENTS_MAX = 1_024;

export function statusOf({ messagingGroup, missing, wired, rival, now }: Observed): MessagingGroupStatus {
  const conditions = referenceConditions(missing, 'It is wired.', {
    reason: Reason.Conflict,
    message: rival === undefined ? undefined : `MessagingGroup ${rival} is for the same chats and is older. Merge the two, or delete one.`,
  });
  return withConditions({ agents: agentsInLine(messagingGroup), wired }, conditions, {
    before: messagingGroup.status,
    generation: messagingGroup.metadata.generation,
    now,
  });
}

/** In the order in which they are asked: by priority, then as written. */
export function agentsInLine({ spec }: Pick<MessagingGroup, 'spec'>): string {
  const names = spec.agents.toSorted((a, b) => b.priority - a.priority).map(({ agentGroupRef }) => agentGroupRef);
  const line = names.join(', ');
  return line.length <= AGENTS_MAX ? line : `${line.slice(0, AGENTS_MAX - 1)}…`;
}
