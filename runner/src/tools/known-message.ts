import type { Inbox } from '../inbox/inbox.ts';
import { unlessPassing } from '../inbox/inbox.ts';
import type { Outbox } from '../outbox/outbox.ts';

/** What stands behind a number that the model names. */
export type KnownMessage =
  /** `editable`: a text of the agent's own; `dead`: it never reached its chat */
  | { readonly from: 'agent'; readonly editable: boolean; readonly dead: boolean }
  | { readonly from: 'people' }
  /** there is nothing that a platform has; `recent`: own messages that the model may have meant */
  | { readonly from: 'nobody'; readonly recent: readonly { readonly seq: number; readonly text: string }[] };

const RECENT = 5;

export function knownMessage(
  seq: number,
  { inbox, outbox }: { readonly inbox: Pick<Inbox, 'isOnPlatform' | 'deliveryState'>; readonly outbox: Pick<Outbox, 'sent' | 'lastSent'> },
): KnownMessage {
  // Passing trouble with the host's file: delivery looks again itself, and says no if need be.
  if (seq % 2 === 0 && unlessPassing(() => inbox.isOnPlatform(seq)) === true) return { from: 'people' };
  const own = seq % 2 === 1 ? outbox.sent(seq) : undefined;
  if (own === undefined || own.kind === 'edit' || own.kind === 'reaction' || own.kind === 'action')
    return { from: 'nobody', recent: outbox.lastSent(RECENT) };
  return { from: 'agent', editable: own.kind === 'chat', dead: unlessPassing(() => inbox.deliveryState(seq)) === 'dead' };
}
