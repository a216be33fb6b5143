/** The one place that adds rows to messages_in. */
import type { InboundContent, MessageInRow, Quoted } from '@dovecote/proto';
import { toError } from '../../lib/errors.ts';
import type { CellRows } from '../cells/create.ts';
import { nextSeq } from '../cells/next-seq.ts';
import { prepared } from '../cells/statements.ts';
import { titleByFirstLine } from '../cells/title.ts';
import { type Choice, pressed, typed } from '../questions/choice.ts';
import { markAnswered } from '../questions/questions.ts';
import { type AttachmentLimits, claimAttachments } from './claim-attachments.ts';
import type { Outcome } from './group-commit.ts';
import type { NewMessage } from './new-message.ts';

export type Appended =
  | { readonly outcome: 'stored'; readonly seq: number; readonly trigger: boolean }
  | { readonly outcome: 'duplicate'; readonly seq: number }
  | { readonly outcome: 'not-engaged' }
  /** of a button: nothing was stored */
  | { readonly outcome: 'no-choice'; readonly because: 'unknown' | 'answered' };

export interface AppendContext {
  /** The folder of staged attachments. */
  readonly staging: string;
  readonly now: number;
  readonly limits: (message: NewMessage) => AttachmentLimits;
  /** Called inside the transaction, after the last row and before the commit. */
  readonly beforeCommit: () => void;
}

/**
 * Appends in one transaction. A message that cannot be stored for a reason of its own (an attachment that is gone) fails alone;
 * anything else (a full volume) is thrown, and then nothing was stored.
 */
export function appendBatch(cell: CellRows, messages: readonly NewMessage[], context: AppendContext): readonly Outcome<Appended>[] {
  return cell.inbound
    .transaction(() => {
      const outcomes = messages.map((message): Outcome<Appended> => {
        const known = findEvent(cell, message.eventId);
        if (known !== undefined) return { value: { outcome: 'duplicate', seq: known } };
        const choice = choiceOf(cell, message);
        if (choice === 'unknown' || choice === 'answered') return { value: { outcome: 'no-choice', because: choice } };
        if (choice !== undefined) return { value: appendChoice(cell, message, choice, context.now) };
        const trigger = message.trigger && (message.unlessEngaged === undefined || isEngaged(cell, message));
        if (message.trigger && !trigger && message.unlessEngaged === 'drop') return { value: { outcome: 'not-engaged' } };
        const seq = nextSeq(cell.inbound);
        let content: InboundContent;
        try {
          content = contentOf(cell, seq, message, context);
        } catch (e) {
          return { error: toError(e) }; // no row was written for it yet, so the others of the batch go on
        }
        insert(cell, seq, message, trigger, content, context.now);
        if (trigger) followChat(cell, message);
        if (trigger && message.kind === 'chat' && message.lane === 'chat') titleByFirstLine(cell.inbound, message.text);
        return { value: { outcome: 'stored', seq, trigger } };
      });
      context.beforeCommit();
      return outcomes;
    })
    .immediate();
}

/** undefined: the message is an ordinary one. */
function choiceOf(cell: CellRows, message: NewMessage): Choice | 'unknown' | 'answered' | undefined {
  const { channel, chat, thread, press } = message;
  if (channel === null || chat === null) return undefined;
  if (press !== undefined) return pressed(cell.inbound, press, { channel, chat, thread });
  // A command stays one, though an agent may offer it as an option.
  if (message.lane === 'control' || message.kind !== 'chat') return undefined;
  if (message.attachments.length > 0 || message.attachmentErrors.length > 0) return undefined;
  return typed(cell.inbound, message.text, { channel, chat, thread });
}

/** Whoever asked is engaged where it asked: an answer always calls the agent, and never queues behind what else was said. */
function appendChoice(cell: CellRows, message: NewMessage, { question, option, answer }: Choice, now: number): Appended {
  const seq = nextSeq(cell.inbound);
  const row: NewMessage = { ...message, lane: 'control', thread: question.thread, text: answer.label, reason: 'Answered' };
  insert(cell, seq, row, true, { text: answer.label, answer }, now);
  markAnswered(cell.inbound, question.seq, { answerSeq: seq, option, by: message.senderName ?? message.sender ?? '' });
  followChat(cell, row);
  return { outcome: 'stored', seq, trigger: true };
}

function findEvent(cell: CellRows, eventId: string): number | undefined {
  return prepared(cell.inbound, 'SELECT seq FROM messages_in WHERE event_id = ?').pluck().get(eventId) as number | undefined;
}

/** An earlier message of this very chat and thread called the agent. Silent context engages nobody. */
function isEngaged(cell: CellRows, { channel, chat, thread }: NewMessage): boolean {
  const sql = 'SELECT 1 FROM messages_in WHERE trigger = 1 AND channel IS ? AND chat IS ? AND thread IS ? LIMIT 1';
  return prepared(cell.inbound, sql).get(channel, chat, thread) !== undefined;
}

function contentOf(cell: CellRows, seq: number, message: NewMessage, { staging, limits }: AppendContext): InboundContent {
  const { attachments, errors } = claimAttachments(cell.paths.in, staging, seq, message.attachments, limits(message));
  const attachmentErrors = [...message.attachmentErrors, ...errors];
  return {
    text: message.text,
    ...(attachments.length > 0 && { attachments }),
    ...(attachmentErrors.length > 0 && { attachmentErrors }),
  };
}

function insert(cell: CellRows, seq: number, message: NewMessage, trigger: boolean, content: InboundContent, now: number): void {
  prepared(
    cell.inbound,
    `INSERT INTO messages_in (seq, event_id, lane, kind, trigger, channel, chat, thread, sender, sender_name, platform_message_id,
       content, reply_to, not_before, reason, traceparent, created_at)
     VALUES (@seq, @event_id, @lane, @kind, @trigger, @channel, @chat, @thread, @sender, @sender_name, @platform_message_id,
       @content, @reply_to, @not_before, @reason, @traceparent, @created_at)`,
  ).run({
    seq,
    event_id: message.eventId,
    lane: message.lane,
    kind: message.kind,
    trigger: trigger ? 1 : 0,
    channel: message.channel,
    chat: message.chat,
    thread: message.thread,
    sender: message.sender,
    sender_name: message.senderName,
    platform_message_id: message.platformMessageId,
    content: JSON.stringify(content),
    reply_to: message.quoted === undefined ? null : JSON.stringify(quotedOf(cell, message, message.quoted)),
    not_before: message.notBefore,
    reason: message.reason,
    traceparent: message.traceparent,
    created_at: now,
  } satisfies Omit<MessageInRow, 'status' | 'tries' | 'next_try_at' | 'last_error'>);
}

function quotedOf(cell: CellRows, message: NewMessage, quoted: NonNullable<NewMessage['quoted']>): Quoted {
  const seq = findPlatformMessage(cell, message.channel, message.chat, quoted.platformMessageId);
  return { senderName: quoted.senderName, text: quoted.text, ...(seq !== undefined && { seq }) };
}

/** The row that the platform knows under this id in this chat: one of ours, or one that was sent. */
export function findPlatformMessage(
  cell: CellRows,
  channel: string | null,
  chat: string | null,
  platformMessageId: string,
): number | undefined {
  if (platformMessageId === '') return undefined;
  const inbound = 'SELECT seq FROM messages_in WHERE platform_message_id = ? AND channel IS ? AND chat IS ? ORDER BY seq DESC LIMIT 1';
  const outbound = 'SELECT seq FROM delivered WHERE platform_message_id = ? ORDER BY seq DESC LIMIT 1';
  return (prepared(cell.inbound, inbound).pluck().get(platformMessageId, channel, chat) ??
    prepared(cell.inbound, outbound).pluck().get(platformMessageId)) as number | undefined;
}

/** A session about everything answers where it was last called. The others' reply address never changes. */
function followChat(cell: CellRows, { channel, chat, thread }: NewMessage): void {
  if (cell.meta.scope !== '*' || channel === null || chat === null) return;
  prepared(
    cell.inbound,
    `INSERT INTO routing (id, channel, chat, thread) VALUES (1, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET channel = excluded.channel, chat = excluded.chat, thread = excluded.thread
     WHERE channel IS NOT excluded.channel OR chat IS NOT excluded.chat OR thread IS NOT excluded.thread`,
  ).run(channel, chat, thread);
}
