/** Hop 3: who speaks. Today a sender is known where a MessagingGroup lists the platform id; Users and roles come in here. */
import type { MessagingGroup } from '@dovecote/crds';

export interface Sender {
  readonly id: string;
  readonly isBot: boolean;
}

export type Standing =
  | { readonly type: 'known' }
  /** Let in without being known. */
  | { readonly type: 'guest' }
  | { readonly type: 'refused'; readonly reason: 'SenderUnknown' | 'SenderIsBot'; readonly detail: string };

/** How a sender stands in a chat. */
export function standingOf(sender: Sender, group: Pick<MessagingGroup['spec'], 'unknownSenders' | 'knownSenders'>): Standing {
  if (group.knownSenders?.includes(sender.id) === true) return { type: 'known' };
  if (sender.isBot)
    return { type: 'refused', reason: 'SenderIsBot', detail: `the sender ${sender.id} is a bot and not among the known senders` };
  if (group.unknownSenders === 'Public') return { type: 'guest' };
  return {
    type: 'refused',
    reason: 'SenderUnknown',
    detail: `the sender ${sender.id} is not among the known senders, and unknown ones are refused`,
  };
}
