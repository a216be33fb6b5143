/**
 * Telegram as `telegram-test-api` plays it (not ours): nine methods of the Bot API, updates by long poll or webhook. It shows no secret
 * token to a webhook and knows no files, so a Channel under test polls.
 */
import { TelegramServer } from 'telegram-test-api';
import { until } from '../harness/until.ts';
import { freePort } from './slack.ts';

export class TelegramEmulator {
  readonly apiUrl: string;
  readonly botToken: string;
  readonly #server: TelegramServer;

  private constructor(server: TelegramServer, botToken: string) {
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

  /** A person writes to the bot in a private chat. */
  async say(chat: number, text: string): Promise<void> {
    const client = this.#server.getClient(this.botToken, {
      chatId: chat,
      userId: chat,
      firstName: 'Alice',
      userName: 'alice',
      type: 'private',
    });
    await client.sendMessage(client.makeMessage(text));
  }

  /** What the bot wrote in a chat, in order. */
  replies(chat: number): readonly string[] {
    return this.#server.storage.botMessages
      .filter(({ message, botToken }) => botToken === this.botToken && String(message.chat_id) === String(chat))
      .map(({ message }) => message.text);
  }

  answer(chat: number, matching: string, timeoutMs = 60_000): Promise<string> {
    return until(`the bot answers ${matching}`, () => this.replies(chat).find((text) => text.includes(matching)), timeoutMs);
  }

  async close(): Promise<void> {
    await this.#server.stop();
  }
}
