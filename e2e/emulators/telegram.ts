/**
 * Telegram as `telegram-test-api` plays it (not ours): nine methods of the Bot API, updates by long poll or webhook. It shows no secret
 * token to a webhook and knows no files, so a Channel under test polls.
 */
import TelegramServerModule from 'telegram-test-api';
import { until } from '../harness/until.ts';
import { freePort } from './slack.ts';

/** What we use of its server: its types export the class under another name than its code does. */
interface Server {
  readonly config: { readonly apiURL: string };
  readonly storage: {
    readonly botMessages: readonly {
      readonly botToken: string;
      readonly messageId: number;
      readonly message: {
        readonly chat_id: number | string;
        readonly text: string;
        readonly reply_markup?: {
          readonly inline_keyboard: readonly (readonly { readonly text: string; readonly callback_data: string }[])[];
        };
      };
    }[];
  };
  getClient(
    token: string,
    options: object,
  ): {
    makeMessage(text: string, more?: object): object;
    sendMessage(message: object): Promise<unknown>;
    makeCallbackQuery(data: string, more?: object): object;
    sendCallback(query: object): Promise<unknown>;
  };
  start(): Promise<void>;
  stop(): Promise<boolean>;
}

/** A CommonJS package whose default export sits inside its default export, or does not, by who loads it. */
const TelegramServer = ((TelegramServerModule as unknown as { default?: unknown }).default ?? TelegramServerModule) as new (
  config: object,
) => Server;

export class TelegramEmulator {
  readonly apiUrl: string;
  readonly botToken: string;
  readonly #server: Server;

  private constructor(server: Server, botToken: string) {
    this.#server = server;
    this.botToken = botToken;
    this.apiUrl = server.config.apiURL;
  }

  /** Listens on `host` alone. */
  static async start(host: string): Promise<TelegramEmulator> {
    const port = await freePort(host);
    // It keeps messages for a minute unless told otherwise: as long as a scenario lasts.
    const server = new TelegramServer({ host, port, storeTimeout: 600 });
    await server.start();
    return new TelegramEmulator(server, `${port}:token-of-the-bot`);
  }

  /** A person writes to the bot in a private chat. `more`: further fields of the message, such as `reply_to_message`. */
  async say(chat: number, text: string, more: object = {}): Promise<void> {
    const client = this.#client(chat);
    await client.sendMessage(client.makeMessage(text, more));
  }

  /** The same person presses the button that bears this label, under the bot's latest message that has one. */
  async press(chat: number, label: string): Promise<void> {
    const client = this.#client(chat);
    const { messageId, data } = await until(`there is a button ${label}`, () => this.#button(chat, label));
    await client.sendCallback(client.makeCallbackQuery(data, { message: { message_id: messageId } }));
  }

  /** Labels of all buttons that people see in a chat. */
  buttons(chat: number): readonly string[] {
    return this.#messages(chat).flatMap(({ message }) => (message.reply_markup?.inline_keyboard ?? []).flat().map(({ text }) => text));
  }

  /** What the bot wrote in a chat, in order. */
  replies(chat: number): readonly string[] {
    return this.#messages(chat).map(({ message }) => message.text);
  }

  answer(chat: number, matching: string, timeoutMs = 60_000): Promise<string> {
    return until(`the bot answers ${matching}`, () => this.replies(chat).find((text) => text.includes(matching)), timeoutMs);
  }

  #client(chat: number): ReturnType<Server['getClient']> {
    return this.#server.getClient(this.botToken, { chatId: chat, userId: chat, firstName: 'Alice', userName: 'alice', type: 'private' });
  }

  #messages(chat: number): Server['storage']['botMessages'] {
    return this.#server.storage.botMessages.filter(
      ({ message, botToken }) => botToken === this.botToken && String(message.chat_id) === String(chat),
    );
  }

  #button(chat: number, label: string): { readonly messageId: number; readonly data: string } | undefined {
    const found = this.#messages(chat).flatMap(({ messageId, message }) =>
      (message.reply_markup?.inline_keyboard ?? [])
        .flat()
        .filter(({ text }) => text === label)
        .map(({ callback_data: data }) => ({ messageId, data })),
    );
    return found.at(-1);
  }

  async close(): Promise<void> {
    await this.#server.stop();
  }
}
