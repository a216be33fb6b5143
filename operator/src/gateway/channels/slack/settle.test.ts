import { platform as proto } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '../../testing/eventually.ts';
import { freePort, MockPlatformFaults } from '../../testing/mock-platform-faults.ts';
import { channel, handCaches } from '../../testing/objects.ts';
import { type TestGateway, testGateway } from '../../testing/test-gateway.ts';
import { WebhookRelay } from '../../testing/webhook-relay.ts';
import { BOT_TOKEN, SIGNING_SECRET, type SlackEmulator, startSlackEmulator } from './slack-emulator.ts';

// Machines under load: what a test waits for comes, but not always within five seconds.
const { SENT, NOT_SENT, UNKNOWABLE, TRY_LATER } = proto.SettleResponse_Verdict;

describe('settling on Slack', () => {
  let relay: WebhookRelay;
  let emulator: SlackEmulator;
  let mock: MockPlatformFaults;
  let gateway: TestGateway;
  beforeEach(async () => {
    relay = await WebhookRelay.start();
    emulator = await startSlackEmulator(await freePort(), relay.url);
    mock = await MockPlatformFaults.start(emulator.url);
    gateway = await testGateway(
      handCaches({
        channels: [channel('team', { type: 'slack', slack: { apiURL: `${mock.url}/api/`, credentialsRef: { name: 'creds' } } })],
      }),
      { secretValues: { creds: { 'bot-token': BOT_TOKEN, 'signing-secret': SIGNING_SECRET } } },
    );
    await eventually('the channel is connected', () => gateway.gateway.channelProblems().length === 0);
  });
  afterEach(async () => {
    await gateway.close();
    await mock.close();
    await emulator.close();
    await relay.close();
  });

  const request = (text: string, key: string, more: Partial<proto.DeliverRequest> = {}): Partial<proto.DeliverRequest> => ({
    channel: 'team',
    chat: emulator.chat,
    content: JSON.stringify({ text }),
    idempotencyKey: key,
    ...more,
  });
  const settle = (text: string, key: string, more: Partial<proto.DeliverRequest> = {}): Promise<proto.SettleResponse> =>
    gateway.settle(request(text, key, more), Date.now());

  test('a message whose answer was lost is found, with its id; one that never left is not', async () => {
    mock.next('chat.postMessage', { type: 'lose-answer' }, { type: 'reset' });
    expect((await gateway.deliver(request('arrived', 's/1/0'))).outcome).toMatchObject({ $case: 'retry', value: { maybeSent: true } });
    expect((await gateway.deliver(request('lost', 's/3/0'))).outcome).toMatchObject({ $case: 'retry', value: { maybeSent: true } });
    const found = await settle('arrived', 's/1/0');
    expect(found.verdict).toBe(SENT);
    expect(found.platformMessageId).toMatch(/^\d+\.\d+$/);
    expect((await settle('lost', 's/3/0')).verdict).toBe(NOT_SENT);
  });

  test('the same words under another key are another message', async () => {
    await gateway.deliver(request('ok', 's/1/0'));
    const kept = JSON.stringify(await emulator.asBot('conversations.history', { channel: emulator.chat })).includes('dovecote_delivery');
    // Where the platform keeps our key it decides; without it, the words are all there is.
    expect((await settle('ok', 's/3/0')).verdict).toBe(kept ? NOT_SENT : SENT);
  });

  test('a message in a thread is looked for in the thread', async () => {
    const { ts } = await emulator.asAlice('chat.postMessage', { channel: emulator.chat, text: 'root' });
    const thread = String(ts);
    await gateway.deliver(request('inside', 's/1/0', { thread }));
    expect((await settle('inside', 's/1/0', { thread })).verdict).toBe(SENT);
    expect((await settle('inside', 's/1/0')).verdict).toBe(NOT_SENT);
  });

  test('somebody else’s words are not ours', async () => {
    await emulator.asAlice('chat.postMessage', { channel: emulator.chat, text: 'the same' });
    expect((await settle('the same', 's/1/0')).verdict).toBe(NOT_SENT);
  });

  test('a file is found by its name', async () => {
    const content = JSON.stringify({ path: 'x', name: 'a.txt', mimeType: 'text/plain', sizeBytes: 3 });
    const file = { channel: 'team', chat: emulator.chat, kind: proto.OutboundKind.FILE, content, idempotencyKey: 's/1/0' };
    expect((await gateway.settle(file, Date.now())).verdict).toBe(NOT_SENT);
    await gateway.deliverFile(file, [Buffer.from('abc')]);
    expect((await gateway.settle(file, Date.now())).verdict).toBe(SENT);
  });

  test('a chat that may not be read cannot be settled; a Slack that does not answer is asked later', async () => {
    mock.next('conversations.history', { type: 'answer', status: 200, body: { ok: false, error: 'missing_scope' } }, { type: 'reset' });
    expect(await settle('x', 's/1/0')).toMatchObject({ verdict: UNKNOWABLE, policy: 'Resend' });
    expect((await settle('x', 's/1/0')).verdict).toBe(TRY_LATER);
  });
});
