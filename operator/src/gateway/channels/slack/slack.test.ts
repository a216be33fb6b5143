import { freePort, MockPlatformFaults } from '../../testing/mock-platform-faults.ts';
import { WebhookRelay } from '../../testing/webhook-relay.ts';
import { describeChannel, type PlatformUnderTest } from '../contract.test-suite.ts';
import { scriptedPress } from './scripted-press.ts';
import { BOT_TOKEN, BOT_USER, SIGNING_SECRET, startSlackEmulator } from './slack-emulator.ts';

interface EmulatedMessage {
  readonly ts: string;
  readonly text: string;
  readonly user: string;
  readonly thread_ts?: string;
  readonly files?: readonly { readonly name: string; readonly url_private_download: string }[];
  readonly blocks?: readonly {
    readonly type: string;
    readonly text?: { readonly text: string };
    readonly fields?: readonly { readonly text: string }[];
    readonly elements?: readonly { readonly action_id: string; readonly text: { readonly text: string }; readonly value: string }[];
  }[];
  readonly reactions?: readonly { readonly name: string }[];
}

async function slackOverWebhook(): Promise<PlatformUnderTest> {
  const relay = await WebhookRelay.start();
  const emulator = await startSlackEmulator(await freePort(), relay.url);
  const mock = await MockPlatformFaults.start(emulator.url);
  const all = async (): Promise<readonly EmulatedMessage[]> => {
    const { messages } = (await emulator.asAlice('conversations.history', { channel: emulator.chat })) as { messages: EmulatedMessage[] };
    const threads = await Promise.all(
      messages.map(
        async ({ ts }) =>
          ((await emulator.asAlice('conversations.replies', { channel: emulator.chat, ts })) as { messages: EmulatedMessage[] }).messages,
      ),
    );
    return threads.flat().sort((a, b) => Number(a.ts) - Number(b.ts));
  };
  return {
    spec: { type: 'slack', slack: { mode: 'Webhook', apiURL: `${mock.url}/api/`, credentialsRef: { name: 'creds' } } },
    credentials: { 'bot-token': BOT_TOKEN, 'signing-secret': SIGNING_SECRET },
    chat: emulator.chat,
    supports: { threads: true, edits: true, reactions: true, files: true },
    mention: `<@${BOT_USER}>`,
    connect: async (url) => {
      relay.to = url;
    },
    say: async (text, { thread } = {}) => {
      const { ts } = await emulator.asAlice('chat.postMessage', {
        channel: emulator.chat,
        text,
        ...(thread !== undefined && { thread_ts: thread }),
      });
      return String(ts);
    },
    repeat: async (change = 'none') => {
      const last = relay.calls.at(-1);
      if (last === undefined) throw new Error('Slack has not called yet');
      return relay.again(last, change === 'forged' ? { 'x-slack-signature': `v0=${'0'.repeat(64)}` } : {});
    },
    // The emulator knows no interactivity: a scripted press, as docs.slack.dev says ("Handling user interaction"), signed as Slack signs.
    press: async (ts, data) => {
      const alice = (await emulator.asAlice('auth.test', {})) as { user_id: string };
      return relay.call(...scriptedPress({ chat: emulator.chat, ts, user: alice.user_id, data, at: Date.now() }, SIGNING_SECRET));
    },
    seen: async () => {
      const own = (await all()).filter(({ user }) => user === BOT_USER);
      return Promise.all(
        own.map(async ({ ts, text, thread_ts = '', files: [file] = [], blocks = [] }) => {
          const buttons = blocks
            .flatMap(({ elements = [] }) => elements)
            .map((button) => ({ label: button.text.text, data: button.value }));
          const laidOut = blocks.flatMap(({ text: line, fields = [] }) => [...(line === undefined ? [] : [line]), ...fields]);
          const shown = laidOut.length === 0 ? text : laidOut.map((line) => line.text).join('\n');
          if (file === undefined) return { id: ts, text: shown, thread: thread_ts, buttons };
          const response = await fetch(file.url_private_download, { headers: { authorization: `Bearer ${BOT_TOKEN}` } });
          return { id: ts, text, thread: thread_ts, file: { name: file.name, bytes: Buffer.from(await response.arrayBuffer()) } };
        }),
      );
    },
    faults: {
      mock,
      send: 'chat.postMessage',
      tooMany: (seconds) => ({
        type: 'answer',
        status: 429,
        headers: { 'retry-after': String(seconds) },
        body: { ok: false, error: 'ratelimited' },
      }),
      reactions: async () => (await all()).flatMap(({ reactions = [] }) => reactions.map(({ name }) => name)),
    },
    close: async () => {
      await mock.close();
      await emulator.close();
      await relay.close();
    },
  };
}

describeChannel('slack over webhooks', slackOverWebhook);
