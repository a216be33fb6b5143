/** A press on a button, offered to delivery. What the button named is only where to look. */
import type { Channel } from '@dovecote/crds';
import { inbox } from '@dovecote/proto';
import type { IncomingAnswer } from '../channels/channel.ts';
import type { ShardInbox } from '../inbox-client/inbox-client.ts';
import type { Drop } from '../routing/decision.ts';
import { DropReason } from '../routing/drop-reason.ts';

export function answerRequest({ metadata }: Channel, event: IncomingAnswer, now: number): inbox.AnswerRequest {
  return {
    session: event.session,
    questionSeq: event.questionSeq,
    option: event.option,
    event: {
      eventId: event.eventId,
      kind: inbox.InboundKind.CHAT,
      lane: inbox.Lane.CONTROL,
      channel: metadata.name,
      chat: event.chat,
      thread: event.thread,
      sender: event.sender,
      senderName: event.senderName,
      platformMessageId: '',
      text: '',
      attachments: [],
      attachmentErrors: [],
      quoted: undefined,
      receivedAtMs: now,
      traceparent: '',
    },
  };
}

/**
 * What the shard that has the session says; undefined: none has such a question there. Rejects when one that may have it did not
 * answer, or as ShardInbox does.
 */
export async function answerOnShards(
  shardInbox: Pick<ShardInbox, 'answer'>,
  shards: readonly string[],
  request: inbox.AnswerRequest,
  signal: AbortSignal,
): Promise<inbox.AnswerResponse | undefined> {
  const results = await Promise.allSettled(shards.map((shard) => shardInbox.answer(shard, request, signal)));
  const found = results.find((result) => result.status === 'fulfilled' && result.value.outcome !== inbox.AnswerOutcome.UNKNOWN);
  if (found?.status === 'fulfilled') return found.value;
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return undefined;
}

export function unknownQuestion({ session, questionSeq, option, chat }: IncomingAnswer): Drop {
  const detail = `chat ${chat} has no question ${session}/${questionSeq} with an option ${option + 1}`;
  return { type: 'drop', agentGroup: '', reason: DropReason.QuestionUnknown, detail };
}
