/** Hop 3 of a press on a button: whoever may speak to the agent there may answer it. Pure. */
import type { MessagingGroup } from '@dovecote/crds';
import { isSessionOf } from '../../lib/session-name.ts';
import { standingOf } from '../access/sender.ts';
import type { IncomingAnswer } from '../channels/channel.ts';
import type { Drop } from './decision.ts';
import { outOfScope, unwired } from './route.ts';

/** Why not; undefined: the press may be offered to the session that it names. `group` is the MessagingGroup that matches the chat. */
export function mayAnswer(channel: string, event: IncomingAnswer, group: MessagingGroup | undefined): Drop | undefined {
  if (group === undefined) return unwired(channel, event);
  const standing = standingOf({ id: event.sender, isBot: event.senderIsBot }, group.spec);
  if (standing.type === 'refused') return { type: 'drop', agentGroup: '', reason: standing.reason, detail: standing.detail };
  if (standing.type === 'known') return undefined;
  const closed = group.spec.agents.find(
    ({ agentGroupRef, senderScope }) => senderScope === 'Known' && isSessionOf(event.session, agentGroupRef),
  );
  return closed === undefined ? undefined : outOfScope(closed.agentGroupRef, event.sender);
}
