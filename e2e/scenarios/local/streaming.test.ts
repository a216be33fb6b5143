import { expect } from '@jest/globals';
import { MockPlatformFaults } from '../../../operator/src/gateway/testing/mock-platform-faults.ts';
import { TelegramEmulator } from '../../emulators/telegram.ts';
import { LocalMode } from '../../harness/local-mode.ts';
import { demoAgent, manifest, secret } from '../../harness/objects.ts';
import { localStage, PATIENT_MS, slackStage, stage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

/** Fifty milliseconds a word. */
const words = (count: number, of: string): string => Array.from({ length: count }, (_, n) => `${of}${n}`).join(' ');

const web = localStage();
const slack = slackStage();
const telegram = stage(async () => {
  const emulator = await TelegramEmulator.start('127.0.0.1');
  const mock = await MockPlatformFaults.start(emulator.apiUrl);
  mock.answer('sendChatAction', () => ({ ok: true, result: true })); // which the emulator does not know
  const house = await LocalMode.start({
    manifests: {
      ...secret('bot', { 'bot-token': emulator.botToken }),
      ...manifest('Channel', 'tg', {
        type: 'telegram',
        telegram: { mode: 'Poll', apiURL: mock.url, credentialsRef: { name: 'bot' } },
      }),
      ...demoAgent('helper'),
      ...manifest('MessagingGroup', 'tg', {
        channelRef: 'tg',
        chatClass: 'Direct',
        unknownSenders: 'Public',
        agents: [{ agentGroupRef: 'helper', engage: { mode: 'Always' } }],
      }),
    },
  });
  return {
    emulator,
    mock,
    house,
    dispose: async () => {
      await house.dispose();
      await mock.close();
      void emulator.close();
    },
  };
});

verifies(
  'turn/streaming-out',
  'the web chat sees the answer grow word by word, and then the answer itself, once',
  async () => {
    const chat = web.it.chat('web', 'growing');
    const text = words(40, 'w');
    chat.rows();
    await chat.send(`stream slowly ${text}`);
    expect(await chat.answer('w39')).toBe(text);
    await until('nothing is being written any more', () => chat.partials.at(-1) === '');
    const grown = chat.partials.slice(0, -1);
    expect(grown.length).toBeGreaterThan(2);
    // Each is the beginning of what follows it.
    for (const [n, partial] of grown.entries()) expect(`${grown[n + 1] ?? text}`.startsWith(partial)).toBe(true);
    expect(chat.answers()).toEqual([text]);
    // What is kept back is never seen, not even while it is written.
    const second = web.it.chat('web', 'growing-2');
    second.rows();
    await second.send(`stream slowly open ${words(10, 'a')} <internal>secret ${words(10, 'b')} </internal> ${words(10, 'c')}`);
    await second.answer('c9');
    expect(second.partials.join()).not.toMatch(/secret|internal/);
  },
  PATIENT_MS,
);

verifies(
  'turn/streaming-out',
  'on Slack one message grows, not more often than Slack wants, and becomes the answer; a short answer makes none',
  async () => {
    const scene = slack.it;
    const own = async (of: string): Promise<string[]> =>
      (await scene.slack.inChat()).map(({ text }) => text).filter((text) => text.includes(of) && !text.includes('stream slowly'));
    await scene.says({ text: 'say short one' });
    await until('the short answer', async () => (await own('short one')).length === 1);
    expect(scene.mock.callsOf('chat.update')).toEqual([]);
    const before = Date.now();
    await scene.says({ text: `stream slowly ${words(100, 's')}` });
    const first = await until('a preview', async () => (await own('s0'))[0]);
    expect(first).toMatch(/ …$/);
    await until('a longer one', async () => {
      const [now = ''] = await own('s0');
      return now.length > first.length && now.endsWith(' …');
    });
    await until('the answer', async () => (await own('s0'))[0] === words(100, 's'));
    expect(await own('s0')).toHaveLength(1);
    expect(scene.posted().filter(({ text }) => text.includes('s0') && !text.includes('stream'))).toHaveLength(1);
    const changes = scene.mock.callsOf('chat.update').map(({ at }) => at);
    expect(changes.length).toBeGreaterThan(1);
    // The last is the answer, which waits for nothing. Against a moment before all of them: one that arrives late brings the next one nearer.
    for (const [n, at] of changes.slice(0, -1).entries()) expect(at - before).toBeGreaterThan((n + 1) * 1_150);
  },
  PATIENT_MS,
);

verifies(
  'turn/streaming-out',
  'killed behind the call that made the preview, before that was recorded, there is one message in the end: the answer',
  async () => {
    const scene = slack.it;
    const { house } = scene;
    const text = words(60, 'k');
    const own = async (): Promise<string[]> =>
      (await scene.slack.inChat()).map((message) => message.text).filter((said) => said.startsWith('k0'));
    await house.stop();
    await scene.begin(['--crash-at', 'delivery/after-preview-before-record']);
    await scene.says({ text: `stream slowly ${text}` });
    expect(await house.ended()).toBe('SIGKILL');
    expect(await own()).toEqual([expect.stringMatching(/ …$/)]);
    await scene.begin();
    await until('the answer', async () => (await own()).includes(text));
    await until('nothing but the answer', async () => (await own()).length === 1);
  },
  PATIENT_MS,
);

verifies(
  'turn/typing',
  'on Telegram the bot types while a turn runs, is told to again before it fades, and stops with the answer',
  async () => {
    const { emulator, mock } = telegram.it;
    const before = Date.now();
    await emulator.say(51, 'sleep 5s\nsay slept');
    await until('it types', () => mock.callsOf('sendChatAction').length >= 1);
    expect(mock.callsOf('sendMessage')).toEqual([]);
    await until('it types again', () => mock.callsOf('sendChatAction').length >= 2);
    const [, second] = mock.callsOf('sendChatAction').map(({ at }) => at);
    expect((second ?? 0) - before).toBeGreaterThan(3_500);
    await emulator.answer(51, 'slept');
    const answered = Date.now();
    await new Promise((resolve) => setTimeout(resolve, 4_500));
    // One that was on its way when the answer came may come behind it.
    expect(mock.callsOf('sendChatAction').filter(({ at }) => at > answered + 1_000)).toEqual([]);
  },
  PATIENT_MS,
);

verifies(
  'turn/streaming-out',
  'on Telegram one message grows and becomes the answer; a tool is named in it while it runs',
  async () => {
    const { emulator, mock } = telegram.it;
    await emulator.say(52, `tool exec {"command":"sleep 3"}\nstream slowly ${words(70, 't')}`);
    await until('the tool is named', () => emulator.replies(52).some((text) => text.includes('using exec')));
    await until('the answer grows', () => emulator.replies(52).some((text) => /^t0 .* …$/.test(text)));
    await until('the answer', () => emulator.replies(52)[0] === words(70, 't'));
    expect(emulator.replies(52)).toEqual([words(70, 't')]);
    expect(mock.callsOf('sendMessage').filter(({ body }) => body.toString().includes('52'))).toHaveLength(1);
  },
  PATIENT_MS,
);
