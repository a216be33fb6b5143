import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { StatusError } from '../../../lib/grpc.ts';
import { eventually } from '../../testing/eventually.ts';
import { MockPlatformFaults } from '../../testing/mock-platform-faults.ts';
import { agentGroup, channel, handCaches, messagingGroup } from '../../testing/objects.ts';
import { type TestGateway, testGateway } from '../../testing/test-gateway.ts';
import { type MockSocketMode, startMockSocketMode } from './mock-socket-mode.ts';

// Machines under load: what a test waits for comes, but not always within five seconds.
jest.setTimeout(30_000);

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
      messagingGroups: [
        messagingGroup('any', {
          channelRef: 'team',
          chatClass: 'Any',
          unknownSenders: 'Public',
          agents: [{ agentGroupRef: 'helper', engage: { mode: 'Always' } }],
        }),
      ],
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
