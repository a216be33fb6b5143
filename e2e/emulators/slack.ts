/**
 * Slack as `emulate` plays it (not ours): a workspace with a person and our bot, the Web API, and signed events over HTTP. It does not
 * know Socket Mode, buttons, rate limits or sending an event again; see faults-mock.ts for those.
 */
import { createHmac, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Store } from '@emulators/core';
import { createEmulator, defineEmulator } from 'emulate';
import { until } from '../harness/until.ts';

export interface SlackMessage {
  readonly ts: string;
  readonly thread_ts?: string;
  readonly user?: string;
  readonly text: string;
  /** docs.slack.dev, "Block Kit"; as far as tests look at it */
  readonly blocks?: readonly SlackBlock[];
  readonly reactions?: readonly { readonly name: string }[];
}

export interface SlackBlock {
  readonly type: string;
  readonly text?: { readonly text: string };
  readonly fields?: readonly { readonly text: string }[];
  readonly elements?: readonly { readonly text: { readonly text: string }; readonly value: string }[];
}

interface Webhooks {
  register(subscription: { url: string; events: readonly string[]; active: boolean; owner: string }): unknown;
}
interface SlackPlugin {
  register(app: unknown, store: Store, webhooks: unknown, baseUrl: string, tokens: Map<string, unknown>): void;
  seed?(store: Store, baseUrl: string): void;
}

export const BOT_TOKEN = 'xoxb-bot';
export const BOT_USER = 'UBOT';
const PERSON_TOKEN = 'xoxp-alice';

/** The plugin is in a file whose name is a hash: `emulate` bundles it and exports no door to it. */
async function slackPlugin(): Promise<{ slackPlugin: SlackPlugin; seedFromConfig: (store: Store, baseUrl: string, seed: object) => void }> {
  const dist = join(dirname(fileURLToPath(import.meta.url)), '../../node_modules/emulate/dist');
  const file = readdirSync(dist).find(
    (name) => name.startsWith('dist-') && name.endsWith('.js') && readFileSync(join(dist, name), 'utf8').includes('var slackPlugin'),
  );
  if (file === undefined) throw new Error(`emulate has no Slack in ${dist}: this version is not the one that was tried`);
  return (await import(pathToFileURL(join(dist, file)).href)) as Awaited<ReturnType<typeof slackPlugin>>;
}

/** A port that nobody listens on now. */
export function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

export class SlackEmulator {
  /** Where the Web API is, as Channel.spec.slack.apiURL takes it. */
  readonly apiUrl: string;
  readonly signingSecret: string = randomUUID();
  /** The chat in which the person and the bot are. */
  chat = '';
  /** Id of the person. */
  person = '';
  #webhooks: Webhooks | undefined;
  #close: () => Promise<void> = async () => {};

  private constructor(apiUrl: string) {
    this.apiUrl = apiUrl;
  }

  /** Listens on `host` alone. */
  static async start(host: string): Promise<SlackEmulator> {
    const port = await freePort(host);
    const url = `http://${host}:${port}`;
    const emulator = new SlackEmulator(`${url}/api/`);
    const { slackPlugin: plugin, seedFromConfig } = await slackPlugin();
    const store = new Store();
    const definition = defineEmulator({
      name: 'slack-workspace',
      state: () => ({}),
      setup: ({ app, webhooks, baseUrl }) => {
        emulator.#webhooks = webhooks as unknown as Webhooks;
        plugin.register(app, store, webhooks, baseUrl, new Map());
        plugin.seed?.(store, baseUrl);
        seedFromConfig(store, baseUrl, {
          signing_secret: emulator.signingSecret,
          users: [{ name: 'alice' }],
          channels: [{ name: 'agents' }],
          oauth_apps: [
            {
              client_id: '1.2',
              client_secret: 'x',
              app_id: 'A1',
              name: 'dovecote',
              redirect_uris: [url],
              scopes: ['chat:write'],
              bot_id: 'B0BOT',
              bot_user_id: BOT_USER,
              bot_name: 'dovecote',
            },
          ],
          tokens: [
            { token: BOT_TOKEN, type: 'bot', user_id: BOT_USER, bot_id: 'B0BOT', bot_user_id: BOT_USER, app_id: 'A1', client_id: '1.2' },
            { token: PERSON_TOKEN, type: 'user', user: 'alice' },
          ],
        });
      },
    });
    const server = await createEmulator({ service: definition, hostname: host, port, baseUrl: url });
    emulator.#close = () => server.close();
    const { channels } = (await emulator.call('conversations.list', {})) as { channels: { id: string; name: string }[] };
    emulator.chat = channels.find(({ name }) => name === 'agents')?.id ?? '';
    emulator.person = ((await emulator.call('auth.test', {})) as { user_id: string }).user_id;
    for (const token of [PERSON_TOKEN, BOT_TOKEN]) await emulator.call('conversations.join', { channel: emulator.chat }, token);
    return emulator;
  }

  /** Sends signed events to `url` from now on. */
  subscribe(url: string): void {
    this.#webhooks?.register({ url, events: ['*'], active: true, owner: 'slack' });
  }

  /** A Web API call as the person. Throws with Slack's word for what is wrong. */
  async call(method: string, body: object, token: string = PERSON_TOKEN): Promise<object> {
    const response = await fetch(`${this.apiUrl}${method}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const answer = (await response.json()) as { ok: boolean; error?: string };
    if (!answer.ok) throw new Error(`Slack refuses ${method}: ${answer.error}`);
    return answer;
  }

  /** The person says something in the chat, or in a thread of it. Resolves with the message's ts when the event was called out. */
  async say(text: string, thread?: string): Promise<string> {
    const posted = await this.call('chat.postMessage', { channel: this.chat, text, ...(thread !== undefined && { thread_ts: thread }) });
    return (posted as { ts: string }).ts;
  }

  /** What the bot wrote in the thread of a message, in order. */
  async replies(ts: string): Promise<readonly SlackMessage[]> {
    const { messages } = (await this.call('conversations.replies', { channel: this.chat, ts })) as { messages: SlackMessage[] };
    return messages.filter(({ user, ts: own }) => user === BOT_USER && own !== ts);
  }

  /** What the bot wrote in the chat itself, oldest first. */
  async inChat(): Promise<readonly SlackMessage[]> {
    const { messages } = (await this.call('conversations.history', { channel: this.chat })) as { messages: SlackMessage[] };
    return messages.filter(({ user }) => user === BOT_USER).reverse();
  }

  /** Waits for a message of the bot in the thread that matches. */
  answer(ts: string, matching: string | RegExp, timeoutMs = 60_000): Promise<SlackMessage> {
    return until(
      `the bot answers ${matching} in the thread`,
      async () =>
        (await this.replies(ts)).find(({ text }) => (typeof matching === 'string' ? text.includes(matching) : matching.test(text))),
      timeoutMs,
    );
  }

  /** The headers with which Slack signs a body. `at`: seconds since 1970. */
  signature(body: string, secret: string = this.signingSecret, at: number = Math.floor(Date.now() / 1000)): Record<string, string> {
    const digest = createHmac('sha256', secret).update(`v0:${at}:${body}`).digest('hex');
    return { 'x-slack-request-timestamp': String(at), 'x-slack-signature': `v0=${digest}`, 'content-type': 'application/json' };
  }

  /** An event as Slack would send it, for what the emulator does not do by itself: sending one again. */
  event(text: string, ts: string, id: string = `Ev${randomUUID().replaceAll('-', '')}`): string {
    const event = { type: 'message', channel: this.chat, channel_type: 'channel', user: 'U000000001', text, ts };
    return JSON.stringify({ type: 'event_callback', team_id: 'T000000001', event_id: id, event_time: Math.floor(Number(ts)), event });
  }

  close(): Promise<void> {
    return this.#close();
  }
}
