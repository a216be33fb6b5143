/**
 * The built-in web chat and command line. It keeps nothing: people are shown the ledger itself (Sessions.WatchMessages), so what is
 * delivered here is delivered as soon as it is recorded.
 */
import { MARKDOWN_AS_IS } from '../../render/as-is.ts';
import type { ChannelInfo, ChannelType, ConnectedChannel, IncomingAttachment, IncomingMessage } from '../channel.ts';

const INFO: ChannelInfo = {
  type: 'local',
  terminology: { chat: 'chat', thread: 'thread', account: 'Dovecote' },
  howToFindIds: 'A chat is named by whoever opens it; the sender is the name under which a person signed in.',
  supports: { threads: false, edits: true, reactions: true, files: true, buttons: false, typing: true },
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
    eventId: `${channel}/${encodeURIComponent(chat)}/${encodeURIComponent(id)}`,
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
