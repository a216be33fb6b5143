/** What the gateway says to delivery about one event. Pure. */
import { createHash } from 'node:crypto';
import type { Channel } from '@dovecote/crds';
import { inbox } from '@dovecote/proto';
import type { IncomingEvent, IncomingMessage } from '../channels/channel.ts';
import type { Amend, Deliver, Drop } from '../routing/decision.ts';

/** `now`: ms since 1970 */
export function enqueueRequest(
  { metadata }: Channel,
  event: IncomingMessage,
  decision: Deliver,
  files: { readonly attachments: readonly inbox.StagedAttachmentRef[]; readonly errors: readonly string[] },
  now: number,
): inbox.EnqueueRequest {
  return {
    agentGroup: decision.agentGroup,
    scope: decision.scope,
    trigger: decision.trigger,
    onlyIfEngaged: decision.ifNotEngaged !== undefined,
    ifNotEngaged: decision.ifNotEngaged === 'accumulate' ? inbox.IfNotEngaged.ACCUMULATE : inbox.IfNotEngaged.DROP,
    reason: decision.reason,
    event: {
      eventId: event.eventId,
      kind: inbox.InboundKind.CHAT,
      lane: decision.command === undefined ? inbox.Lane.CHAT : inbox.Lane.CONTROL,
      channel: metadata.name,
      chat: event.chat,
      thread: decision.thread,
      sender: event.sender,
      senderName: event.senderName,
      platformMessageId: event.platformMessageId,
      text: decision.command ?? event.text,
      attachments: [...files.attachments],
      attachmentErrors: [...files.errors],
      quoted: event.quoted,
      receivedAtMs: now,
      traceparent: traceparentOf(event.eventId),
    },
  };
}

export function amendRequest({ metadata }: Channel, event: IncomingEvent, decision: Amend, now: number): inbox.AmendRequest {
  return {
    agentGroup: decision.agentGroup,
    scope: decision.scope,
    eventId: event.eventId,
    channel: metadata.name,
    chat: event.chat,
    platformMessageId: event.platformMessageId,
    change: event.type === 'edited' ? { $case: 'newText', value: event.text } : { $case: 'deleted', value: true },
    senderName: event.senderName,
    receivedAtMs: now,
  };
}

export function dropRequest({ metadata }: Channel, event: IncomingEvent, drop: Drop, now: number): inbox.RecordDropRequest {
  return {
    eventId: event.eventId,
    channel: metadata.name,
    chat: event.chat,
    sender: event.sender,
    senderName: event.senderName,
    agentGroup: drop.agentGroup,
    reason: drop.reason,
    detail: drop.detail,
    receivedAtMs: now,
  };
}

/** The same trace for the same event, whichever replica gets whichever repetition of it. W3C trace context, sampled. */
function traceparentOf(eventId: string): string {
  const hash = createHash('sha256').update(eventId).digest('hex');
  return `00-${hash.slice(0, 32)}-${hash.slice(32, 48)}-01`;
}
