/**
 * The built-in web chat and command line. It keeps nothing: people are shown the ledger itself (Sessions.WatchMessages), so what is
 * delivered here is delivered as soon as it is recorded.
 */
import { MARKDOWN_AS_IS } from '../../render/as-is.ts';
import type { ButtonPointer } from '../button.ts';
import type { ChannelInfo, ChannelType, ConnectedChannel, IncomingAnswer, IncomingAttachment, IncomingMessage } from '../channel.ts';

const INFO: ChannelInfo = {
  type: 'local',
  terminology: { chat: 'chat', thread: 'thread', account: 'Dovecote' },
  howToFindIds: 'A chat is named by whoever opens it; the sender is the name under which a person signed in.',
  supports: { threads: false, edits: true, reactions: true, files: true, buttons: true, typing: true },
  defaultIsolation: 'Shared',
  ackBudgetMs: 10_000,
};

export const local: ChannelType = {
  info: INFO,
  connect: async () => connected(),
};

function connected(): ConnectedChannel {
  return {
    info: INFO,
    account: 'local',
    dialect: MARKDOWN_AS_IS,
    verify: async () => {},
    deliver: async ({ idempotencyKey, outgoing }) => {
      // The bytes stay in the ledger's own outbox; reading them to the end is what the caller waits for.
      if (outgoing.kind === 'file') for await (const _ of outgoing.bytes);
      return { type: 'delivered', platformMessageId: idempotencyKey };
    },
    // The same answer as from deliver: the row is the message.
    settle: async ({ delivery }) => ({ type: 'sent', platformMessageId: delivery.idempotencyKey }),
    typing: async () => {},
    close: async () => {},
  };
}

/** A press on a button by someone whom we authenticated. `id` as in localMessage. */
export function localAnswer(answer: {
  readonly channel: string;
  readonly chat: string;
  readonly id: string;
  readonly sender: string;
  readonly pointer: ButtonPointer;
  readonly pressedAtMs: number;
}): IncomingAnswer {
  const { channel, chat, id, sender, pointer, pressedAtMs } = answer;
  return {
    ...pointer,
    type: 'answer',
    eventId: eventIdOf(channel, chat, id),
    chat,
    chatClass: 'Direct',
    thread: '',
    opensThread: '',
    sender,
    senderName: sender,
    senderIsBot: false,
    platformMessageId: '', // the page shows the ledger, where the answer stands beside its question
    sentAtMs: pressedAtMs,
    pressId: '',
  };
}

function eventIdOf(channel: string, chat: string, id: string): string {
  return `${channel}/${encodeURIComponent(chat)}/${encodeURIComponent(id)}`;
}

/** A message that someone whom we authenticated wrote into the web chat. `id` is unique in its chat and the same when it is sent again. */
export function localMessage(message: {
  readonly channel: string;
  readonly chat: string;
  readonly id: string;
  readonly sender: string;
  readonly senderName: string;
  readonly text: string;
  readonly sentAtMs: number;
  readonly attachments?: readonly IncomingAttachment[];
}): IncomingMessage {
  const { channel, chat, id, sender, senderName, text, sentAtMs, attachments = [] } = message;
  return {
    type: 'message',
    eventId: eventIdOf(channel, chat, id),
    chat,
    chatClass: 'Direct',
    thread: '',
    opensThread: '',
    sender,
    senderName,
    senderIsBot: false,
    platformMessageId: id,
    sentAtMs,
    text,
    mentioned: true,
    attachments,
  };
}
