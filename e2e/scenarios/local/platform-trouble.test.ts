import { expect } from '@jest/globals';
import { BOT_TOKEN } from '../../emulators/slack.ts';
import { demoAgent, manifest, secret } from '../../harness/objects.ts';
import { acceptEverything, slackChats } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const ghost = manifest('Channel', 'ghost', {
  type: 'slack',
  slack: { mode: 'Webhook', apiURL: 'http://127.0.0.1:9/api/', credentialsRef: { name: 'ghost' } },
});
const stage = slackStage({
  manifests: {
    ...demoAgent('helper'),
    ...slackChats(),
    ...ghost,
    ...manifest('Destination', 'lost', {
      agentGroupRef: 'helper',
      localName: 'lost',
      target: { type: 'channel', channel: { channelRef: 'ghost', chatId: 'CLOST' } },
    }),
  },
  flags: ['--limits', JSON.stringify({ outbox: { callMs: 1_000, backoff: { baseMs: 200, maxMs: 1_000 } } })],
});

verifies(
  'out/retry-after',
  'a platform that says 429 is left alone for as long as it asks, also by the other chats of the Channel',
  async () => {
    const scene = stage.it;
    scene.failNext({ type: 'answer', status: 429, headers: { 'retry-after': '2' }, body: { ok: false, error: 'ratelimited' } });
    await scene.says({ text: 'say after the limit' });
    await until('the answer is there', async () => (await scene.slack.inChat()).some(({ text }) => text.includes('after the limit')));
    const [refused, next] = scene.mock.callsOf('chat.postMessage').filter(({ body }) => body.toString().includes('after'));
    expect((next?.at ?? 0) - (refused?.at ?? 0)).toBeGreaterThanOrEqual(2_000);
    expect((await scene.slack.inChat()).filter(({ text }) => text.includes('after the limit'))).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'out/retry-after',
  'errors, broken lines and silence are tried again with growing pauses, and the message is there once',
  async () => {
    const scene = stage.it;
    const before = scene.mock.callsOf('chat.postMessage').length;
    scene.failNext(
      { type: 'answer', status: 500, body: { ok: false } },
      { type: 'answer', status: 200, body: { ok: false, error: 'service_unavailable' } },
      { type: 'reset' },
      { type: 'hang' },
    );
    await scene.says({ text: 'say at last' });
    await until('the answer is there', async () => (await scene.slack.inChat()).some(({ text }) => text.includes('at last')));
    expect(scene.mock.callsOf('chat.postMessage').length - before).toBe(5);
    expect((await scene.slack.inChat()).filter(({ text }) => text.includes('at last'))).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'out/retry-after',
  'a Channel that is not connected is a reason to try again, not a success; when it is mended the message arrives',
  async () => {
    const scene = stage.it;
    const { house } = scene;
    await scene.says({ text: 'tool send_message {"to":"lost","text":"into the void"}\nsay sent' });
    await until('the answer is there', async () => (await scene.slack.inChat()).some(({ text }) => text === 'sent'));
    const [session = ''] = house.files.sessions();
    const row = () => house.files.ledger(session).find(({ lane }) => lane.startsWith('ghost/'));
    const tried = await until('it was tried twice', () => {
      const now = row();
      return now !== undefined && now.attempts >= 2 && now.state === 'failed' && now; // between two tries
    });
    expect(tried.platform_message_id).toBeNull();
    expect(tried.last_error).toMatch(/ghost/);
    await house.stop();
    house.declare({
      ...secret('team', { 'bot-token': BOT_TOKEN, 'signing-secret': scene.slack.signingSecret }),
      ...secret('ghost', { 'bot-token': BOT_TOKEN, 'signing-secret': 'any' }),
      ...manifest('Channel', 'team', {
        type: 'slack',
        slack: { mode: 'Webhook', apiURL: `${scene.mock.url}/api/`, credentialsRef: { name: 'team' } },
      }),
      ...manifest('Channel', 'ghost', {
        type: 'slack',
        slack: { mode: 'Webhook', apiURL: `${scene.mock.url}/api/`, credentialsRef: { name: 'ghost' } },
      }),
      ...demoAgent('helper'),
      ...slackChats(),
      ...manifest('Destination', 'lost', {
        agentGroupRef: 'helper',
        localName: 'lost',
        target: { type: 'channel', channel: { channelRef: 'ghost', chatId: 'CLOST' } },
      }),
    });
    const taken = acceptEverything(scene.mock);
    await scene.begin();
    await until('it arrives', () => taken.find(({ channel, text }) => channel === 'CLOST' && text === 'into the void'));
    expect(taken.filter(({ channel }) => channel === 'CLOST')).toHaveLength(1);
  },
  PATIENT_MS,
);
