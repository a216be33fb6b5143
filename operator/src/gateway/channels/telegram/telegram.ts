/** Telegram: updates by webhook or long poll, answers by the Bot API. */
import { z } from 'zod';
import { TerminalError } from '../../../lib/errors.ts';
import { TELEGRAM_HTML } from '../../render/telegram-html.ts';
import type { ChannelType, ConnectedChannel, ConnectOptions, IncomingAttachment, IncomingEvent } from '../channel.ts';
import { credential } from '../credential.ts';
import { BotApi } from './bot-api.ts';
import { deliver, remove } from './deliver.ts';
import { fromTelegram, fromTelegramConnect } from './from-telegram.ts';
import { INFO } from './info.ts';
import { pollForUpdates } from './poll.ts';
import { ALLOWED_UPDATES, parseUpdate, type TelegramMedia, type TelegramSelf } from './updates.ts';
import { receiveWebhook } from './webhook.ts';

/** The public Bot API gives bots no larger files. */
const MAX_DOWNLOAD_BYTES = 20 * 1024 * 1024;
/** Of what is shown to whoever pressed a button. */
const MAX_RESPONSE_CHARS = 200;
const Me = z.object({ id: z.number(), username: z.string().default(''), first_name: z.string().default('') });
const FileAnswer = z.object({ file_path: z.string() });

/** Bots FAQ: about one message a second in a chat, twenty a minute in a group (whose id is negative); edits count. */
const PREVIEW_EVERY_MS = { direct: 1_500, group: 3_500 };

export const telegram: ChannelType = { info: INFO, connect };

async function connect(options: ConnectOptions, signal: AbortSignal): Promise<ConnectedChannel> {
  const { name, spec, credentials, clock, random, log, publicUrl, onOwnMessage } = options;
  const settings = spec.telegram;
  if (settings === undefined) throw new TerminalError('Invalid', `cannot connect channel ${name}: spec.telegram is missing`);
  const api = new BotApi({ token: credential(credentials, 'bot-token', name), apiUrl: settings.apiURL, clock });
  const secret = settings.mode === 'Webhook' ? credential(credentials, 'webhook-secret', name) : undefined;
  if (secret !== undefined && !/^[A-Za-z0-9_-]{1,256}$/.test(secret)) {
    throw new TerminalError(
      'Invalid',
      `cannot connect channel ${name}: webhook-secret may only have letters, digits, _ and -, and at most 256 of them`,
    );
  }
  const whoAmI = async (until: AbortSignal): Promise<TelegramSelf> => {
    try {
      const me = Me.parse(await api.call('getMe', {}, until));
      return { id: me.id, username: me.username || me.first_name };
    } catch (thrown) {
      throw fromTelegramConnect('verify the bot token', thrown);
    }
  };
  const self = await whoAmI(signal);
  if (secret !== undefined && publicUrl !== undefined) {
    try {
      const url = `${publicUrl.replace(/\/+$/, '')}/channels/${name}`;
      await api.call('setWebhook', { url, secret_token: secret, allowed_updates: ALLOWED_UPDATES }, signal);
    } catch (thrown) {
      throw fromTelegramConnect('register the webhook', thrown);
    }
  }
  const parse = (update: unknown): readonly IncomingEvent[] =>
    parseUpdate(update, {
      channel: name,
      self,
      attachment: (media, file, mimeType) => attachmentOf(api, media, file, mimeType, settings.apiURL === undefined),
      onOwnMessage,
    });
  return {
    info: INFO,
    account: `@${self.username}`,
    dialect: TELEGRAM_HTML,
    ...(secret === undefined
      ? { listen: (sink, until, up) => pollForUpdates({ api, clock, random, log, parse }, sink, until, up) }
      : { webhook: (call) => receiveWebhook(call, { secret, log, parse }) }),
    verify: async (until) => {
      const now = await whoAmI(until);
      if (now.id !== self.id) throw new Error(`the bot token is now that of @${now.username}, not of @${self.username}`);
    },
    deliver: (delivery, until) => deliver(api, delivery, until),
    // A bot cannot read a chat back. What leaves the same behind when it is done twice is simply done again.
    settle: async ({ delivery }) => ({
      type: delivery.outgoing.kind === 'edit' || delivery.outgoing.kind === 'reaction' ? 'not-sent' : 'unknowable',
    }),
    preview: {
      everyMs: (chat) => (chat.startsWith('-') ? PREVIEW_EVERY_MS.group : PREVIEW_EVERY_MS.direct),
      remove: (chat, messageId, until) => remove(api, chat, messageId, until),
    },
    typing: async (chat, thread, until) => {
      await api.call(
        'sendChatAction',
        { chat_id: chat, action: 'typing', ...(thread !== '' && { message_thread_id: Number(thread) }) },
        until,
      );
    },
    respond: async ({ pressId }, { sentence }, until) => {
      await api.call('answerCallbackQuery', { callback_query_id: pressId, text: sentence.slice(0, MAX_RESPONSE_CHARS) }, until);
    },
    close: async () => {}, // every call is a request of its own
  };
}

function attachmentOf(api: BotApi, media: TelegramMedia, name: string, mimeType: string, publicApi: boolean): IncomingAttachment {
  const sizeBytes = media.file_size ?? 0;
  return {
    name,
    mimeType,
    sizeBytes,
    open: async (signal) => {
      if (publicApi && sizeBytes > MAX_DOWNLOAD_BYTES) throw new Error('Telegram gives bots no files of more than 20 MB');
      let path: string;
      try {
        path = FileAnswer.parse(await api.call('getFile', { file_id: media.file_id }, signal)).file_path;
      } catch (thrown) {
        const outcome = fromTelegram('fetch the file', thrown);
        throw new Error(outcome.type === 'delivered' ? 'it has no address' : outcome.message, { cause: thrown });
      }
      return api.download(path, signal);
    },
  };
}
