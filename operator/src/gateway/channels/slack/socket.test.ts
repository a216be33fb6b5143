import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from '@jest/globals';
import { StatusError } from '../../../lib/grpc.ts';
import { eventually } from '../../testing/eventually.ts';
import { MockPlatformFaults } from '../../testing/mock-platform-faults.ts';
import { agentGroup, anyChat, channel, handCaches } from '../../testing/objects.ts';
import { ASKING } from '../../testing/scripted-inbox.ts';
import { type TestGateway, testGateway } from '../../testing/test-gateway.ts';
import { encodeButton } from '../button.ts';
import { type MockSocketMode, startMockSocketMode } from './mock-socket-mode.ts';
import { pressPayload } from './scripted-press.ts';

// Machines under load: what a test waits for comes, but not always within five seconds.
const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function start(): Promise<{ gateway: TestGateway; socket: MockSocketMode; api: MockPlatformFaults }> {
  const socket = await startMockSocketMode();
  open.push(() => socket.close());
  const api = await MockPlatformFaults.start('');
  open.push(() => api.close());
  api.answer('auth.test', () => ({ ok: true, user_id: 'UBOT', bot_id: 'B0BOT', user: 'kbot', team: 'Test' }));
  api.answer('apps.connections.open', () => ({ ok: true, url: socket.url }));
  api.answer('users.info', () => ({ ok: true, user: { id: 'U1', profile: { display_name: 'Alice' } } }));
  const gateway = await testGateway(
    handCaches({
      channels: [
        channel('team', { type: 'slack', slack: { mode: 'Socket', apiURL: `${api.url}/api/`, credentialsRef: { name: 'creds' } } }),
      ],
      messagingGroups: [anyChat('team')],
      agentGroups: [agentGroup('helper')],
    }),
    { secretValues: { creds: { 'bot-token': 'xoxb-1', 'app-token': 'xapp-1' } }, limits: { keeper: { retry: { baseMs: 10, maxMs: 50 } } } },
  );
  open.push(() => gateway.close());
  await eventually('the socket is open', () => gateway.statuses.at(-1)?.status.conditions[0]?.status === 'True');
  return { gateway, socket, api };
}

const message = (ts: string, text: string): object => ({ type: 'message', channel: 'C1', channel_type: 'channel', user: 'U1', ts, text });

describe('slack over Socket Mode', () => {
  test('acknowledges an event only when it is durable', async () => {
    const { gateway, socket } = await start();
    const held = Promise.withResolvers<void>();
    gateway.inbox.gate = held.promise;
    const first = socket.send(message('1.1', 'hello'), 'Ev1');
    await eventually('it waits in delivery', () => gateway.inbox.waiting === 1);
    // Behind it on the same connection, and no message: when this one is acknowledged, the first could have been.
    const second = socket.send({ type: 'team_join' }, 'Ev2');
    await eventually('the second is acknowledged', () => socket.acknowledged.has(second));
    expect(socket.acknowledged.has(first)).toBe(false);
    held.resolve();
    await eventually('the first is acknowledged', () => socket.acknowledged.has(first));
    expect(gateway.inbox.enqueued[0]?.event).toMatchObject({ text: 'hello', senderName: 'Alice', eventId: 'team/C1/1.1' });
  });

  test('does not acknowledge what could not be stored, and stores it once when it comes again', async () => {
    const { gateway, socket } = await start();
    gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
    const first = socket.send(message('1.1', 'hello'), 'Ev1');
    await eventually('it was tried', () => gateway.inbox.calls === 1);
    const again = socket.send(message('1.1', 'hello'), 'Ev1');
    await eventually('the repetition is acknowledged', () => socket.acknowledged.has(again));
    expect([socket.acknowledged.has(first), gateway.inbox.texts()]).toEqual([false, ['hello']]);
  });

  test('takes a press on a button, acknowledged when it is stored, and tells a stranger alone that it does not count', async () => {
    const { gateway, socket, api } = await start();
    api.answer('chat.update', () => ({ ok: true, ts: '7.1' }));
    api.answer('chat.postEphemeral', () => ({ ok: true }));
    const press = (session: string): object =>
      pressPayload({
        chat: 'C1',
        ts: '7.1',
        thread: '6.1',
        user: 'U1',
        data: encodeButton({ session, questionSeq: 5, option: 1 }) ?? '',
        at: Date.now(),
      });
    gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
    const lost = socket.sendInteractive(press(ASKING));
    await eventually('it was tried', () => gateway.inbox.calls === 1);
    const stored = socket.sendInteractive(press(ASKING));
    await eventually('the next is acknowledged', () => socket.acknowledged.has(stored));
    expect(socket.acknowledged.has(lost)).toBe(false);
    expect(gateway.inbox.answers).toMatchObject([
      { session: ASKING, questionSeq: 5, option: 1, event: { chat: 'C1', thread: '6.1', sender: 'U1', senderName: 'Alice' } },
    ]);
    await eventually('the choice is shown', () => api.callsOf('chat.update').length === 1);
    const update = new URLSearchParams(api.callsOf('chat.update')[0]?.body.toString());
    expect(update.get('text')).toContain('Not now');
    expect(update.get('blocks')).toBe('[]'); // or Slack keeps the buttons
    expect(api.callsOf('chat.postEphemeral')).toEqual([]);
    const forged = socket.sendInteractive(press('other-aaaaaaaaaa'));
    await eventually('it is acknowledged too', () => socket.acknowledged.has(forged));
    await eventually('whoever pressed is told', () => api.callsOf('chat.postEphemeral').length === 1);
    const other = socket.sendInteractive({ type: 'view_submission', view: {} });
    await eventually('what is none of ours is acknowledged', () => socket.acknowledged.has(other));
  });

  test('opens the next connection when Slack ends one, without a word in the status', async () => {
    const { gateway, socket, api } = await start();
    const writes = gateway.statuses.length;
    socket.refresh();
    await eventually('it is asked for again', () => api.callsOf('apps.connections.open').length === 2);
    await eventually('it is open', () => socket.connections() === 1);
    let id = '';
    await eventually('events come in', () => {
      if (id === '' || !socket.acknowledged.has(id)) id = socket.send(message('2.1', 'after'), 'Ev3');
      return socket.acknowledged.has(id) || gateway.inbox.texts().includes('after');
    });
    expect(gateway.statuses.slice(writes).every(({ status: said }) => said.conditions[0]?.status === 'True')).toBe(true);
  });

  test('says Unauthorized when the app token is refused', async () => {
    const { gateway, socket, api } = await start();
    api.answer('apps.connections.open', () => ({ ok: false, error: 'invalid_auth' }));
    socket.refresh();
    await eventually('it is said', () => gateway.statuses.at(-1)?.status.conditions[0]?.reason === 'Unauthorized');
  });

  test('closes its connection with the gateway', async () => {
    const { gateway, socket } = await start();
    await gateway.gateway.close();
    await eventually('no connection is left', () => socket.connections() === 0);
  });
});
