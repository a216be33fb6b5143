/** Hop 3: who gets an event, and why. Pure: the same event and the same objects give the same decisions on every replica. */
import type { MessagingGroup, Wiring } from '@dovecote/crds';
import { chatScope, EVERYTHING } from '../../lib/scope.ts';
import { type Standing, standingOf } from '../access/sender.ts';
import type { IncomingAnswer, IncomingEvent, IncomingMessage } from '../channels/channel.ts';
import { commandOf } from './command.ts';
import { type Decision, type Drop, EngageReason } from './decision.ts';
import { DropReason } from './drop-reason.ts';
import { matchesPattern } from './engage-pattern.ts';

/**
 * At least one decision for every event, one for each agent of the chat, in the order of priority. `group` is the MessagingGroup
 * that matches the chat.
 */
export function route(
  channel: string,
  event: Exclude<IncomingEvent, IncomingAnswer>,
  group: MessagingGroup | undefined,
): readonly Decision[] {
  if (group === undefined) return [unwired(channel, event)];
  const wirings = inOrder(group.spec.agents);
  if (wirings.length === 0) return [drop('', DropReason.NoAgents, `MessagingGroup ${group.metadata.name} names no agent`)];
  // What changed may have been stored before the sender or the wiring changed, so it is offered to every agent of the chat.
  if (event.type !== 'message') {
    return wirings.map((wiring) => ({ type: 'amend', agentGroup: wiring.agentGroupRef, scope: scopeOf(channel, event, wiring) }));
  }
  const standing = standingOf({ id: event.sender, isBot: event.senderIsBot }, group.spec);
  if (standing.type === 'refused') return [drop('', standing.reason, standing.detail)];
  return wirings.map((wiring) => decide(channel, event, wiring, standing.type));
}

function decide(channel: string, event: IncomingMessage, wiring: Wiring, standing: Exclude<Standing['type'], 'refused'>): Decision {
  const { agentGroupRef: agentGroup } = wiring;
  if (wiring.senderScope === 'Known' && standing !== 'known') {
    return outOfScope(agentGroup, event.sender);
  }
  const deliver = { type: 'deliver', agentGroup, scope: scopeOf(channel, event, wiring), thread: threadOf(event, wiring) } as const;
  const engaged = engages(event, wiring);
  const command = commandOf(event.text);
  switch (engaged) {
    case 'no':
    case 'invalid':
      break;
    case EngageReason.Sticky: {
      // A command to somebody else is nothing that was said.
      if (command !== undefined) return { ...deliver, trigger: true, ifNotEngaged: 'drop', command, reason: engaged };
      const ifNotEngaged = wiring.ignored === 'Accumulate' && standing === 'known' ? 'accumulate' : 'drop';
      return { ...deliver, trigger: true, ifNotEngaged, reason: engaged };
    }
    default:
      return { ...deliver, trigger: true, ...(command !== undefined && { command }), reason: engaged };
  }
  if (wiring.ignored === 'Accumulate') {
    // A stranger may not fill an agent's context unheard.
    if (standing === 'known') return { ...deliver, trigger: false, reason: EngageReason.Accumulated };
    return drop(
      agentGroup,
      DropReason.NotEngagedUnknownSender,
      `the message does not engage ${agentGroup}, and ${event.sender} is not known`,
    );
  }
  if (engaged === 'invalid') {
    return drop(agentGroup, DropReason.PatternInvalid, `the engage pattern of ${agentGroup} cannot be compiled, so it engages on nothing`);
  }
  return drop(agentGroup, DropReason.NotEngaged, `the message does not engage ${agentGroup} (mode ${wiring.engage.mode})`);
}

function engages(event: IncomingMessage, wiring: Wiring): EngageReason | 'no' | 'invalid' {
  const addressed = event.mentioned ? EngageReason.Mentioned : event.chatClass === 'Direct' ? EngageReason.Direct : undefined;
  switch (wiring.engage.mode) {
    case 'Always':
      return addressed ?? EngageReason.Always;
    case 'Mention':
      return addressed ?? 'no';
    case 'MentionSticky':
      return addressed ?? EngageReason.Sticky;
    case 'Pattern': {
      const matched = wiring.engage.pattern === undefined ? undefined : matchesPattern(wiring.engage.pattern, event.text);
      return matched === undefined ? 'invalid' : matched ? EngageReason.PatternMatched : 'no';
    }
  }
}

/** In a direct chat there is one conversation, whatever threads it has. */
function scopeOf(channel: string, event: IncomingEvent, wiring: Wiring): string {
  switch (wiring.sessionMode) {
    case 'AgentShared':
      return EVERYTHING;
    case 'Shared':
      return chatScope(channel, event.chat);
    case 'PerThread':
      return chatScope(channel, event.chat, event.chatClass === 'Direct' ? '' : threadOf(event, wiring));
  }
}

/**
 * Where threads are conversations, the message that begins one belongs to it: its answer opens the thread. For MentionSticky too:
 * "what follows in the thread" needs a thread, or one mention would engage the agent in the whole chat for ever.
 */
function threadOf(event: IncomingEvent, wiring: Wiring): string {
  if (event.thread !== '' || event.chatClass === 'Direct') return event.thread;
  return wiring.sessionMode === 'PerThread' || wiring.engage.mode === 'MentionSticky' ? event.opensThread : '';
}

/** Higher priority first; equal ones by name, so that every replica says the same. */
function inOrder(wirings: readonly Wiring[]): readonly Wiring[] {
  return [...wirings].sort((a, b) => b.priority - a.priority || (a.agentGroupRef < b.agentGroupRef ? -1 : 1));
}

/** Why nobody hears of an event from a chat that no MessagingGroup matches. */
export function unwired(channel: string, { chat, chatClass }: IncomingEvent): Drop {
  return drop('', DropReason.Unwired, `no MessagingGroup names chat ${chat} of channel ${channel}, nor ${chatClass} chats`);
}

export function outOfScope(agentGroup: string, sender: string): Drop {
  return drop(agentGroup, DropReason.SenderOutOfScope, `${agentGroup} hears known senders only here, and ${sender} is none`);
}

function drop(agentGroup: string, reason: DropReason, detail: string): Drop {
  return { type: 'drop', agentGroup, reason, detail };
}
