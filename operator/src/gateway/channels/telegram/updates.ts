/** Telegram's updates as our events. Everything else in an update is left unread. */
import { z } from 'zod';
import { decodeButton } from '../button.ts';
import type { IncomingAnswer, IncomingAttachment, IncomingEvent, IncomingMessage } from '../channel.ts';

const User = z.object({
  id: z.number(),
  is_bot: z.boolean().nullish(),
  first_name: z.string().nullish(),
  last_name: z.string().nullish(),
  username: z.string().nullish(),
});
const Chat = z.object({ id: z.number(), type: z.string(), title: z.string().nullish(), username: z.string().nullish() });
const Media = z.object({
  file_id: z.string(),
  file_unique_id: z.string().nullish(),
  file_name: z.string().nullish(),
  mime_type: z.string().nullish(),
  file_size: z.number().nullish(),
});
export type TelegramMedia = z.infer<typeof Media>;
const Entity = z.object({ type: z.string(), offset: z.number(), length: z.number(), user: User.nullish() });

const Base = z.object({
  message_id: z.number(),
  date: z.number().nullish(),
  from: User.nullish(),
  sender_chat: Chat.nullish(),
  text: z.string().nullish(),
  caption: z.string().nullish(),
});
const Message = Base.extend({
  chat: Chat,
  is_topic_message: z.boolean().nullish(),
  message_thread_id: z.number().nullish(),
  entities: z.array(Entity).nullish(),
  caption_entities: z.array(Entity).nullish(),
  reply_to_message: Base.extend({ forum_topic_created: z.unknown().optional() }).nullish(),
  quote: z.object({ text: z.string() }).nullish(),
  photo: z.array(Media).nullish(),
  document: Media.nullish(),
  audio: Media.nullish(),
  voice: Media.nullish(),
  video: Media.nullish(),
  video_note: Media.nullish(),
  animation: Media.nullish(),
  sticker: Media.nullish(),
  location: z.unknown().optional(),
  venue: z.unknown().optional(),
  contact: z.unknown().optional(),
  poll: z.unknown().optional(),
  dice: z.unknown().optional(),
  game: z.unknown().optional(),
  story: z.unknown().optional(),
});
type Message = z.infer<typeof Message>;
const CallbackQuery = z.object({
  id: z.string(),
  from: User,
  // Absent when the button was sent in inline mode; of a message that is too old there are but its ids.
  message: Message.pick({ message_id: true, chat: true, is_topic_message: true, message_thread_id: true }).optional(),
  data: z.string().nullish(),
});
type CallbackQuery = z.infer<typeof CallbackQuery>;

export const Update = z.object({
  update_id: z.number(),
  message: Message.optional(),
  edited_message: Message.optional(),
  channel_post: Message.optional(),
  edited_channel_post: Message.optional(),
  callback_query: CallbackQuery.optional(),
});

/** What we ask Telegram for. */
export const ALLOWED_UPDATES = ['message', 'edited_message', 'channel_post', 'edited_channel_post', 'callback_query'];

export interface TelegramSelf {
  readonly id: number;
  readonly username: string;
}

export interface ParseContext {
  /** Name of the Channel. */
  readonly channel: string;
  readonly self: TelegramSelf;
  readonly attachment: (media: TelegramMedia, name: string, mimeType: string) => IncomingAttachment;
  readonly onOwnMessage: () => void;
}

/** Empty for what is no message, and for our own. Throws ZodError for an update of bad form. */
export function parseUpdate(raw: unknown, context: ParseContext): readonly IncomingEvent[] {
  const update = Update.parse(raw);
  if (update.callback_query !== undefined) return pressOf(update.callback_query, context);
  const message = update.message ?? update.channel_post;
  const edited = update.edited_message ?? update.edited_channel_post;
  const subject = message ?? edited;
  if (subject === undefined) return [];
  if (subject.from?.id === context.self.id) {
    context.onOwnMessage();
    return [];
  }
  const addressed = addressOf(subject);
  const text = subject.text ?? subject.caption ?? '';
  if (edited !== undefined) return [{ ...addressed, type: 'edited', eventId: `${context.channel}/update/${update.update_id}`, text }];
  const attachments = attachmentsOf(subject, context);
  const said = text !== '' || attachments.length > 0 ? text : unreadable(subject);
  // Someone joined, the title changed: nobody said anything.
  if (said === undefined) return [];
  const quoted = quotedOf(subject);
  return [
    {
      ...addressed,
      type: 'message',
      eventId: `${context.channel}/${addressed.chat}/${addressed.platformMessageId}`,
      text: said,
      mentioned: mentions(subject, text, context.self),
      attachments,
      ...(quoted !== undefined && { quoted }),
    },
  ];
}

/** Empty for a button that is none of ours. */
function pressOf({ id, from, message, data }: CallbackQuery, { channel }: ParseContext): readonly IncomingAnswer[] {
  const pointer = decodeButton(data ?? '');
  if (message === undefined || pointer === undefined) return [];
  return [
    {
      ...pointer,
      ...addressOf({ ...message, from }),
      type: 'answer',
      eventId: `${channel}/press/${id}`,
      pressId: id,
    },
  ];
}

function addressOf(message: Message): Omit<IncomingMessage, 'type' | 'eventId' | 'text' | 'mentioned' | 'attachments' | 'quoted'> {
  const { chat, from, sender_chat: as } = message;
  // Who writes as a channel, or as an anonymous admin, comes "from" a bot of Telegram's that stands for all of them.
  const speaker = as ?? from ?? chat;
  return {
    chat: String(chat.id),
    chatClass: chat.type === 'private' ? 'Direct' : 'Group',
    thread: message.is_topic_message === true ? String(message.message_thread_id ?? '') : '',
    opensThread: '',
    sender: String(speaker.id),
    senderName: nameOf(speaker),
    senderIsBot: (as === null || as === undefined) && from?.is_bot === true,
    platformMessageId: String(message.message_id),
    sentAtMs: (message.date ?? 0) * 1000,
  };
}

function nameOf(who: z.infer<typeof User> | z.infer<typeof Chat>): string {
  const parts =
    'title' in who
      ? [who.title]
      : 'first_name' in who || 'last_name' in who
        ? [who.first_name, 'last_name' in who ? who.last_name : '']
        : [];
  return parts.filter((part) => part).join(' ') || who.username || String(who.id);
}

function mentions(message: Message, text: string, self: TelegramSelf): boolean {
  if (message.reply_to_message?.from?.id === self.id) return true;
  if (
    [...(message.entities ?? []), ...(message.caption_entities ?? [])].some(
      ({ type, user }) => type === 'text_mention' && user?.id === self.id,
    )
  )
    return true;
  // Also in /command@name. Names of bots are letters, digits and underscores.
  return self.username !== '' && new RegExp(`@${self.username}(?![A-Za-z0-9_])`, 'i').test(text);
}

function quotedOf(message: Message): IncomingMessage['quoted'] {
  const { reply_to_message: original, quote } = message;
  // In a topic every message answers the one that made the topic.
  if (original === null || original === undefined || original.forum_topic_created !== undefined) return undefined;
  const who = original.sender_chat ?? original.from;
  return {
    platformMessageId: String(original.message_id),
    senderName: who === null || who === undefined ? '' : nameOf(who),
    text: quote?.text ?? original.text ?? original.caption ?? '',
  };
}

function attachmentsOf(message: Message, { attachment }: ParseContext): readonly IncomingAttachment[] {
  const largest = message.photo?.reduce((a, b) => ((b.file_size ?? 0) >= (a.file_size ?? 0) ? b : a));
  const found: readonly (readonly [TelegramMedia | null | undefined, string, string])[] = [
    [largest, 'photo.jpg', 'image/jpeg'],
    // An animation comes as a document too: it is the same file.
    [message.animation ?? message.document, 'document', 'application/octet-stream'],
    [message.audio, 'audio.mp3', 'audio/mpeg'],
    [message.voice, 'voice.ogg', 'audio/ogg'],
    [message.video, 'video.mp4', 'video/mp4'],
    [message.video_note, 'video-note.mp4', 'video/mp4'],
    [message.sticker, 'sticker.webp', 'image/webp'],
  ];
  return found.flatMap(([media, name, mimeType]) =>
    media === null || media === undefined ? [] : [attachment(media, media.file_name ?? name, media.mime_type ?? mimeType)],
  );
}

/** Kinds that this version cannot show: the agent is told that there was something. */
function unreadable(message: Message): string | undefined {
  const kind = (['venue', 'location', 'contact', 'poll', 'dice', 'game', 'story'] as const).find((key) => message[key] !== undefined);
  return kind === undefined ? undefined : `[a message that cannot be shown here: ${kind}]`;
}
