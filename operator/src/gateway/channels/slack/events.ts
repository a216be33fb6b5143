/** Slack's message events as ours. Everything else in a body is left unread. */
import { z } from 'zod';
import type { ChatClass, IncomingAttachment, IncomingEvent } from '../channel.ts';

const File = z.object({
  id: z.string(),
  name: z.string().nullish(),
  title: z.string().nullish(),
  mimetype: z.string().nullish(),
  size: z.number().nullish(),
  url_private: z.string().nullish(),
  url_private_download: z.string().nullish(),
});
export type SlackFile = z.infer<typeof File>;

const Message = z.object({
  subtype: z.string().nullish(),
  ts: z.string(),
  thread_ts: z.string().nullish(),
  user: z.string().nullish(),
  bot_id: z.string().nullish(),
  username: z.string().nullish(),
  text: z.string().nullish(),
  files: z.array(File).nullish(),
});

const MessageEvent = Message.extend({
  type: z.enum(['message', 'app_mention']),
  channel: z.string(),
  channel_type: z.string().nullish(),
  message: Message.nullish(),
  previous_message: Message.nullish(),
  deleted_ts: z.string().nullish(),
});

/** An Events API envelope, as far as it concerns us. */
export const Envelope = z.looseObject({
  type: z.literal('event_callback'),
  event_id: z.string(),
  event: z.looseObject({ type: z.string() }),
});

export interface SlackSelf {
  readonly userId: string;
  readonly botId: string;
  readonly name: string;
}

export interface ParseContext {
  /** Name of the Channel. */
  readonly channel: string;
  readonly self: SlackSelf;
  readonly eventId: string;
  readonly nameOf: (user: string) => Promise<string>;
  readonly attachment: (file: SlackFile) => IncomingAttachment;
  readonly onOwnMessage: () => void;
}

/** Subtypes that a person would call a message; the others tell of joins, topics, pins and the like. */
const SPOKEN = new Set(['', 'file_share', 'thread_broadcast', 'bot_message', 'me_message']);

/** Empty for what is no message, and for our own. Throws ZodError for an event of bad form. */
export async function parseMessageEvent(raw: unknown, context: ParseContext): Promise<readonly IncomingEvent[]> {
  const event = MessageEvent.parse(raw);
  const subtype = event.subtype ?? '';
  switch (subtype) {
    case 'message_changed': {
      const { message, previous_message: before } = event;
      if (message === null || message === undefined) return [];
      if (isOwn(message, context)) return own(context);
      if (message.subtype === 'tombstone') return [{ ...(await addressed(event, message, context)), type: 'deleted' }];
      // Slack changes messages by itself, to unfurl links; what people wrote is then the same.
      if ((message.text ?? '') === (before?.text ?? '')) return [];
      return [{ ...(await addressed(event, message, context)), type: 'edited', text: await readable(message.text ?? '', context) }];
    }
    case 'message_deleted': {
      const { deleted_ts: ts, previous_message: before } = event;
      if (ts === null || ts === undefined) return [];
      if (before !== null && before !== undefined && isOwn(before, context)) return own(context);
      return [{ ...(await addressed(event, { ...before, ts }, context)), type: 'deleted' }];
    }
    default: {
      if (!SPOKEN.has(subtype)) return [];
      if (isOwn(event, context)) return own(context);
      const text = event.text ?? '';
      return [
        {
          ...(await addressed(event, event, context)),
          // By what it is and not by what told us of it: Slack sends a mention twice, as message and as app_mention.
          eventId: `${context.channel}/${event.channel}/${event.ts}`,
          type: 'message',
          text: await readable(text, context),
          mentioned:
            event.type === 'app_mention' || text.includes(`<@${context.self.userId}>`) || text.includes(`<@${context.self.userId}|`),
          attachments: (event.files ?? []).map(context.attachment),
        },
      ];
    }
  }
}

async function addressed(
  event: z.infer<typeof MessageEvent>,
  message: z.infer<typeof Message> | { readonly ts: string },
  context: ParseContext,
) {
  const { ts } = message;
  const user = ('user' in message ? message.user : undefined) ?? '';
  const bot = ('bot_id' in message ? message.bot_id : undefined) ?? '';
  const username = ('username' in message ? message.username : undefined) ?? '';
  const threadTs = ('thread_ts' in message ? message.thread_ts : undefined) ?? '';
  const sender = user || bot;
  return {
    eventId: `${context.channel}/event/${context.eventId}`,
    chat: event.channel,
    chatClass: chatClassOf(event),
    // The first message of a thread bears its own ts there once it has answers.
    thread: threadTs === ts ? '' : threadTs,
    opensThread: threadTs === '' || threadTs === ts ? ts : '',
    sender,
    senderName: user === '' ? username || bot : await context.nameOf(user),
    senderIsBot: bot !== '',
    platformMessageId: ts,
    sentAtMs: Math.floor(Number(ts) * 1000),
  };
}

/** app_mention has no channel_type; direct chats have ids that begin with D. */
function chatClassOf({ channel, channel_type: type }: { channel: string; channel_type?: string | null | undefined }): ChatClass {
  if (type !== null && type !== undefined) return type === 'im' ? 'Direct' : 'Group';
  return channel.startsWith('D') ? 'Direct' : 'Group';
}

function isOwn(message: z.infer<typeof Message>, { self }: ParseContext): boolean {
  return message.user === self.userId || (message.bot_id !== null && message.bot_id !== undefined && message.bot_id === self.botId);
}

function own(context: ParseContext): readonly IncomingEvent[] {
  context.onOwnMessage();
  return [];
}

/** Text as a person reads it: names for ids, addresses without brackets. docs.slack.dev, "Formatting message text". */
async function readable(text: string, context: ParseContext): Promise<string> {
  const users = new Set([...text.matchAll(/<@([A-Z0-9]+)>/g)].map(([, user]) => user ?? ''));
  const names = new Map(await Promise.all([...users].map(async (user): Promise<[string, string]> => [user, await context.nameOf(user)])));
  return text
    .replace(/<([^<>]*)>/g, (whole: string, inside: string) => {
      const bar = inside.indexOf('|');
      const target = bar < 0 ? inside : inside.slice(0, bar);
      const label = bar < 0 ? '' : inside.slice(bar + 1);
      if (target === `@${context.self.userId}`) return `@${context.self.name}`;
      if (target.startsWith('@')) return `@${label || (names.get(target.slice(1)) ?? target.slice(1))}`;
      if (target.startsWith('#')) return `#${label || target.slice(1)}`;
      if (target.startsWith('!')) return label || `@${target.slice(1).split('^')[0] ?? ''}`;
      if (target === '') return whole;
      return label === '' || label === target ? target : `${label} (${target})`;
    })
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}
