/** Test only: the Slack emulator of `emulate`, in this process, with an event subscription. Its plugin is bundled under a hashed name. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Store } from '@emulators/core';
import { createEmulator, defineEmulator } from 'emulate';

export const BOT_TOKEN = 'xoxb-bot';
export const BOT_USER = 'UBOT';
export const SIGNING_SECRET = 'shh';

export interface SlackEmulator {
  /** Without a path; the Web API is under /api/. */
  readonly url: string;
  /** Id of the channel #agents. */
  readonly chat: string;
  /** Any Web API method as the person Alice. */
  asAlice(method: string, body: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>>;
  asBot(method: string, body: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>>;
  close(): Promise<void>;
}

interface SlackPlugin {
  readonly slackPlugin: {
    register(app: unknown, store: unknown, webhooks: unknown, baseUrl: string, tokens: Map<string, unknown>): void;
    seed?(store: unknown, baseUrl: string): void;
  };
  readonly seedFromConfig: (store: unknown, baseUrl: string, config: object) => void;
}

/** `eventsTo` gets every event, signed. */
export async function startSlackEmulator(port: number, eventsTo: string): Promise<SlackEmulator> {
  const dist = bundleFolder(import.meta.dirname);
  const bundle = readdirSync(dist).find(
    (file) => file.startsWith('dist-') && file.endsWith('.js') && readFileSync(join(dist, file), 'utf8').includes('var slackPlugin'),
  );
  if (bundle === undefined) throw new Error(`cannot find the Slack plugin in ${dist}: is it another version of emulate?`);
  const { slackPlugin, seedFromConfig } = (await import(pathToFileURL(join(dist, bundle)).href)) as SlackPlugin;
  const store = new Store();
  let hooks: { register(subscription: object): void } | undefined;
  const service = defineEmulator({
    name: 'slack-in-process',
    state: () => ({}),
    setup({ app, webhooks, baseUrl }) {
      hooks = webhooks;
      slackPlugin.register(app, store, webhooks, baseUrl, new Map());
      slackPlugin.seed?.(store, baseUrl);
      seedFromConfig(store, baseUrl, {
        signing_secret: SIGNING_SECRET,
        users: [{ name: 'alice', real_name: 'Alice Liddell' }],
        channels: [{ name: 'agents' }],
        oauth_apps: [
          {
            client_id: '1.2',
            client_secret: 'x',
            app_id: 'A1',
            name: 'kbot',
            redirect_uris: ['http://127.0.0.1/'],
            scopes: ['chat:write'],
            bot_id: 'B0BOT',
            bot_user_id: BOT_USER,
            bot_name: 'kbot',
          },
        ],
        tokens: [
          { token: BOT_TOKEN, type: 'bot', user_id: BOT_USER, bot_id: 'B0BOT', bot_user_id: BOT_USER, app_id: 'A1', client_id: '1.2' },
          { token: 'xoxp-alice', type: 'user', user: 'alice' },
        ],
      });
    },
  });
  const emulator = await createEmulator({ service, port });
  hooks?.register({ url: eventsTo, events: ['*'], active: true, owner: 'slack' });
  const url = `http://127.0.0.1:${port}`;
  const as =
    (token: string) =>
    async (method: string, body: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> => {
      const response = await fetch(`${url}/api/${method}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
      });
      const answer = (await response.json()) as Record<string, unknown>;
      if (answer['ok'] !== true) throw new Error(`the Slack emulator refuses ${method}: ${String(answer['error'])}`);
      return answer;
    };
  const asAlice = as('xoxp-alice');
  const asBot = as(BOT_TOKEN);
  const { channels } = (await asAlice('conversations.list', {})) as { channels: { id: string; name: string }[] };
  const chat = channels.find(({ name }) => name === 'agents')?.id ?? '';
  await asAlice('conversations.join', { channel: chat });
  await asBot('conversations.join', { channel: chat });
  return { url, chat, asAlice, asBot, close: () => emulator.close() };
}

/** Its package exports no path that a resolver would answer with. */
function bundleFolder(from: string): string {
  const dist = join(from, 'node_modules', 'emulate', 'dist');
  if (existsSync(dist)) return dist;
  const parent = dirname(from);
  if (parent === from) throw new Error('cannot find the package emulate');
  return bundleFolder(parent);
}
