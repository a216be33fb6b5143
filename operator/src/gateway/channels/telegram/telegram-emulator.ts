/** Test only: telegram-test-api in this process, with one person in one group. */
import TelegramServer from 'telegram-test-api';

export const BOT_TOKEN = '123:abc';
export const BOT_NAME = 'TestNameBot';
export const GROUP = -4200;

export interface SentByBot {
  readonly id: string;
  readonly text: string;
  readonly thread: string;
  readonly buttons: readonly { readonly label: string; readonly data: string }[];
}

export interface TelegramEmulator {
  readonly url: string;
  /** Writes into the group as Alice; resolves with the message id when the bot was told, or could ask. */
  say(text: string, more?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Presses a button of a message as Alice; resolves when the bot was told, or could ask. */
  press(messageId: string, data: string): Promise<void>;
  sent(): readonly SentByBot[];
  setWebhook(url: string): Promise<void>;
  close(): Promise<void>;
}

interface Server {
  readonly config: { readonly apiURL: string };
  readonly storage: {
    readonly botMessages: readonly {
      readonly messageId: number;
      readonly message: {
        readonly text?: string;
        readonly message_thread_id?: number;
        readonly reply_markup?: {
          readonly inline_keyboard: readonly (readonly { readonly text: string; readonly callback_data: string }[])[];
        };
      };
    }[];
  };
  getClient(
    token: string,
    options: object,
  ): { makeMessage(text: string, options?: object): object; makeCallbackQuery(data: string, options?: object): object };
  addUserCallback(query: object): Promise<void>;
  addUserMessage(message: object): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<boolean>;
}

export async function startTelegramEmulator(port: number): Promise<TelegramEmulator> {
  // A CommonJS package with a default export inside its default export.
  const Constructor = ((TelegramServer as unknown as { default?: unknown }).default ?? TelegramServer) as new (config: object) => Server;
  const server = new Constructor({ port, host: '127.0.0.1' });
  await server.start();
  const client = server.getClient(BOT_TOKEN, {
    chatId: GROUP,
    type: 'group',
    chatTitle: 'The Group',
    firstName: 'Alice',
    userId: 77,
    userName: 'alice',
  });
  return {
    url: server.config.apiURL,
    say: async (text, more = {}) => {
      // The emulator counts its messages in private and does not say; the next number is its own.
      const { messageId } = server as unknown as { messageId: number };
      // Not by its HTTP route, which does not wait for the webhook and lets its failure kill the process.
      await server.addUserMessage(client.makeMessage(text, more));
      return String(messageId);
    },
    press: (messageId, data) => server.addUserCallback(client.makeCallbackQuery(data, { message: { message_id: Number(messageId) } })),
    sent: () =>
      server.storage.botMessages.map(({ messageId, message }) => ({
        id: String(messageId),
        text: message.text ?? '',
        thread: message.message_thread_id === undefined ? '' : String(message.message_thread_id),
        buttons: (message.reply_markup?.inline_keyboard ?? [])
          .flat()
          .map(({ text, callback_data }) => ({ label: text, data: callback_data })),
      })),
    setWebhook: async (url) => {
      const response = await fetch(`${server.config.apiURL}/bot${BOT_TOKEN}/setWebhook`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ url }),
      });
      await response.text();
    },
    close: async () => {
      await server.stop();
    },
  };
}
