import { Readable } from 'node:stream';
import { z } from 'zod';
import type { Delivery, Outcome } from '../channel.ts';
import type { BotApi } from './bot-api.ts';
import { fromTelegram, isNotModified } from './from-telegram.ts';

/** Longest upload; the caller's own deadline comes first. */
const UPLOAD_MS = 600_000;
/** What sendPhoto takes; larger ones go as documents. */
const PHOTO_BYTES = 10 * 1024 * 1024;
const PHOTO_TYPES = new Set(['image/jpeg', 'image/png', 'image/webp']);

const Sent = z.object({ message_id: z.number() });

/** One message on Telegram. Never rejects. */
export async function deliver(api: BotApi, { chat, thread, replyTo, outgoing }: Delivery, signal: AbortSignal): Promise<Outcome> {
  const where = {
    chat_id: chat,
    ...(thread !== '' && { message_thread_id: Number(thread) }),
  };
  const answering = {
    // In a direct chat it is plain what is answered; groups have negative ids.
    ...(/^\d+$/.test(replyTo) &&
      chat.startsWith('-') && { reply_parameters: { message_id: Number(replyTo), allow_sending_without_reply: true } }),
  };
  switch (outgoing.kind) {
    case 'text':
    case 'card':
    case 'question':
      try {
        const options = { parse_mode: 'HTML', link_preview_options: { is_disabled: true }, ...keyboardOf(outgoing) };
        return delivered(await api.call('sendMessage', { ...where, ...answering, text: outgoing.text, ...options }, signal));
      } catch (thrown) {
        return fromTelegram('send the message', thrown);
      }
    case 'edit':
      try {
        await api.call(
          'editMessageText',
          // What is said instead of a question has no buttons.
          {
            chat_id: chat,
            message_id: Number(outgoing.target),
            text: outgoing.text,
            parse_mode: 'HTML',
            reply_markup: { inline_keyboard: [] },
          },
          signal,
        );
        return { type: 'delivered', platformMessageId: outgoing.target };
      } catch (thrown) {
        return isNotModified(thrown) ? { type: 'delivered', platformMessageId: outgoing.target } : fromTelegram('edit the message', thrown);
      }
    case 'reaction':
      try {
        const reaction = [{ type: 'emoji', emoji: outgoing.emoji }];
        await api.call('setMessageReaction', { chat_id: chat, message_id: Number(outgoing.target), reaction }, signal);
        return { type: 'delivered', platformMessageId: outgoing.target };
      } catch (thrown) {
        return fromTelegram('react to the message', thrown);
      }
    case 'file': {
      const photo = PHOTO_TYPES.has(outgoing.mimeType) && outgoing.sizeBytes <= PHOTO_BYTES;
      const file = { source: Readable.from(outgoing.bytes, { objectMode: false }), filename: outgoing.name };
      const caption = outgoing.caption === '' ? {} : { caption: outgoing.caption, parse_mode: 'HTML' };
      try {
        const method = photo ? 'sendPhoto' : 'sendDocument';
        return delivered(
          await api.call(method, { ...where, ...answering, ...caption, [photo ? 'photo' : 'document']: file }, signal, UPLOAD_MS),
        );
      } catch (thrown) {
        return fromTelegram('send the file', thrown);
      }
    }
  }
}

/** One below the other: on a phone there is no room beside a label. */
function keyboardOf(outgoing: Delivery['outgoing']): object {
  if (outgoing.kind !== 'question') return {};
  return { reply_markup: { inline_keyboard: outgoing.buttons.map(({ label, data }) => [{ text: label, callback_data: data }]) } };
}

/** Takes back a message of ours. Never rejects. */
export async function remove(api: BotApi, chat: string, messageId: string, signal: AbortSignal): Promise<Outcome> {
  try {
    await api.call('deleteMessage', { chat_id: chat, message_id: Number(messageId) }, signal);
    return { type: 'delivered', platformMessageId: messageId };
  } catch (thrown) {
    return fromTelegram('remove the message', thrown);
  }
}

function delivered(answer: unknown): Outcome {
  const sent = Sent.safeParse(answer);
  return { type: 'delivered', platformMessageId: sent.success ? String(sent.data.message_id) : '' };
}
