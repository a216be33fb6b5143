/** The door of Enqueue: what came over the wire becomes a row to append, or an INVALID_ARGUMENT that names the field. */
import { type InboundKindName, inbox, type LaneName, RETRY } from '@dovecote/proto';
import { StatusError, status } from '../../lib/grpc.ts';
import { EVERYTHING } from '../../lib/scope.ts';
import type { Press } from '../questions/choice.ts';

/** A row of messages_in that has no seq yet. */
export interface NewMessage {
  readonly eventId: string;
  readonly lane: LaneName;
  readonly kind: InboundKindName;
  readonly trigger: boolean;
  /** mentionSticky: `trigger` holds only where this chat and thread was engaged before, else this happens */
  readonly unlessEngaged?: 'drop' | 'accumulate';
  /** a button: its text is what the question says */
  readonly press?: Press;
  readonly channel: string | null;
  readonly chat: string | null;
  readonly thread: string | null;
  readonly sender: string | null;
  readonly senderName: string | null;
  readonly platformMessageId: string | null;
  readonly text: string;
  readonly attachments: readonly StagedRef[];
  readonly attachmentErrors: readonly string[];
  readonly quoted?: { readonly platformMessageId: string; readonly senderName: string; readonly text: string };
  readonly notBefore: number;
  readonly reason: string | null;
  readonly traceparent: string | null;
}

export interface StagedRef {
  readonly stagedId: string;
  readonly name: string;
  readonly mimeType: string;
}

const KINDS: Readonly<Record<number, InboundKindName>> = {
  [inbox.InboundKind.CHAT]: 'chat',
  [inbox.InboundKind.TASK]: 'task',
  [inbox.InboundKind.WEBHOOK]: 'webhook',
  [inbox.InboundKind.SYSTEM]: 'system',
  [inbox.InboundKind.ON_WAKE]: 'on_wake',
};

const MAX_TEXT_BYTES = 1024 * 1024;
const MAX_ATTACHMENTS = 100;

/** Throws StatusError INVALID_ARGUMENT. */
export function parseEnqueue(request: inbox.EnqueueRequest): NewMessage {
  const { event } = request;
  checkScope(request.scope);
  if (event === undefined) throw invalid('event', 'is missing', undefined);
  const kind = KINDS[event.kind];
  if (kind === undefined) throw invalid('event.kind', 'is not one that this version knows', event.kind);
  checkOrigin(event, kind === 'chat');
  checkText('event.platform_message_id', event.platformMessageId, 0, 512);
  checkText('reason', request.reason, 0, 512);
  checkText('event.text', event.text, 0, MAX_TEXT_BYTES);
  checkText('event.quoted.text', event.quoted?.text ?? '', 0, MAX_TEXT_BYTES);
  if (event.attachments.length > MAX_ATTACHMENTS)
    throw invalid('event.attachments', `has more than ${MAX_ATTACHMENTS} entries`, event.attachments.length);
  for (const [i, { name, mimeType }] of event.attachments.entries()) {
    checkText(`event.attachments[${i}].name`, name, 0, 1024);
    checkText(`event.attachments[${i}].mime_type`, mimeType, 0, 256);
  }
  const accumulate = request.ifNotEngaged === inbox.IfNotEngaged.ACCUMULATE;
  return {
    eventId: event.eventId,
    lane: event.lane === inbox.Lane.CONTROL ? 'control' : 'chat',
    kind,
    trigger: request.trigger,
    ...(request.onlyIfEngaged && request.trigger && { unlessEngaged: accumulate ? 'accumulate' : 'drop' }),
    channel: orNull(event.channel),
    chat: orNull(event.chat),
    thread: orNull(event.thread),
    sender: orNull(event.sender),
    senderName: orNull(event.senderName),
    platformMessageId: orNull(event.platformMessageId),
    text: event.text,
    attachments: event.attachments,
    attachmentErrors: event.attachmentErrors,
    ...(event.quoted !== undefined && { quoted: event.quoted }),
    notBefore: 0,
    reason: orNull(request.reason),
    traceparent: orNull(event.traceparent),
  };
}

/** A row of our own: what happened, for the agent. It wakes nobody and reaches the model with the next message. */
export function systemMessage(eventId: string, text: string, chat: Pick<NewMessage, 'channel' | 'chat' | 'thread'>): NewMessage {
  return {
    eventId,
    lane: 'chat',
    kind: 'system',
    trigger: false,
    channel: chat.channel,
    chat: chat.chat,
    thread: chat.thread,
    sender: null,
    senderName: null,
    platformMessageId: null,
    text,
    attachments: [],
    attachmentErrors: [],
    notBefore: 0,
    reason: 'System',
    traceparent: null,
  };
}

/** A row of our own to the runner: what waits for its next try is tried at once. */
export function retryMessage(id: string): NewMessage {
  const nowhere = { channel: null, chat: null, thread: null };
  return { ...systemMessage(`retry/${id}`, RETRY, nowhere), lane: 'control', trigger: true };
}

export function checkScope(scope: string): void {
  if (scope === EVERYTHING) return;
  const parts = scope.split('/');
  const whole = (parts.length === 2 || parts.length === 3) && parts.every((part) => part !== '' && decodable(part));
  if (!whole || Buffer.byteLength(scope) > 1024)
    throw invalid('scope', 'must be channel/chat or channel/chat/thread, each part URI-encoded, or *', scope);
}

/** Where an event comes from. `chat`: it must come from one. */
export function checkOrigin(event: inbox.InboundEvent, chat: boolean): void {
  checkText('event.event_id', event.eventId, 1, 512);
  checkText('event.channel', event.channel, chat ? 1 : 0, 253);
  checkText('event.chat', event.chat, chat ? 1 : 0, 512);
  checkText('event.thread', event.thread, 0, 512);
  checkText('event.sender', event.sender, 0, 512);
  checkText('event.sender_name', event.senderName, 0, 512);
  checkText('event.traceparent', event.traceparent, 0, 256);
}

export function checkText(field: string, value: string, minBytes: number, maxBytes: number): void {
  const bytes = Buffer.byteLength(value);
  if (bytes < minBytes) throw invalid(field, 'must not be empty', value);
  if (bytes > maxBytes) throw invalid(field, `is longer than ${maxBytes} bytes`, bytes);
}

export function invalid(field: string, problem: string, value: unknown): StatusError {
  const shown = JSON.stringify(value)?.slice(0, 200);
  return new StatusError(status.INVALID_ARGUMENT, `${field} ${problem}${shown === undefined ? '' : `, current value is ${shown}`}`);
}

function decodable(part: string): boolean {
  try {
    return encodeURIComponent(decodeURIComponent(part)) === part;
  } catch {
    return false; // a lone % is no encoding
  }
}

export function orNull(value: string): string | null {
  return value === '' ? null : value;
}
