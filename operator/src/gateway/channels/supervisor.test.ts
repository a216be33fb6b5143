import type { ChannelSpecInput } from '@dovecote/crds';
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually } from '../testing/eventually.ts';
import { agentGroup, channel, handCaches, messagingGroup } from '../testing/objects.ts';
import { scriptedChannel, scriptedMessage } from '../testing/scripted-channel.ts';
import { type ChannelStatusWrite, type TestGateway, testGateway } from '../testing/test-gateway.ts';
import type { KeeperTimes } from './channel-keeper.ts';
import type { Ownership } from './ownership.ts';

// Machines under load: what a test waits for comes, but not always within five seconds.
const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const FAST: KeeperTimes = {
  retry: { baseMs: 5, maxMs: 20 },
  refusedRetry: { baseMs: 60_000, maxMs: 60_000 },
  connectMs: 1_000,
  secretsMs: 10,
  verifyMs: 10,
};
const spec = (secret = 'first'): ChannelSpecInput => ({ type: 'slack', slack: { credentialsRef: { name: secret } } });
const secretValues = { first: { token: 'one' }, second: { token: 'two' }, bad: { token: 'bad' } };
const world = (spec_: ChannelSpecInput = spec()) =>
  handCaches({
    channels: [channel('team', spec_)],
    messagingGroups: [
      messagingGroup('any', { channelRef: 'team', chatClass: 'Any', unknownSenders: 'Public', agents: [{ agentGroupRef: 'helper' }] }),
    ],
    agentGroups: [agentGroup('helper')],
  });

async function start(
  platform: ReturnType<typeof scriptedChannel>,
  caches: ReturnType<typeof world>,
  more: Parameters<typeof testGateway>[1] = {},
): Promise<TestGateway> {
  const gateway = await testGateway(caches, { channelTypes: { slack: platform.type }, limits: { keeper: FAST }, secretValues, ...more });
  open.push(() => gateway.close());
  return gateway;
}

const latest = (gateway: TestGateway): ChannelStatusWrite | undefined => gateway.statuses.at(-1)?.status;
const connected = (gateway: TestGateway): string => {
  const condition = latest(gateway)?.conditions[0];
  return condition === undefined ? '' : `${condition.status} ${condition.reason}: ${condition.message}`;
};
const becomes = (gateway: TestGateway, expected: RegExp): Promise<void> =>
  eventually(`Connected ${expected}, now ${connected(gateway)}`, () => expected.test(connected(gateway))).catch((e: Error) => {
    throw new Error(`${e.message}; last: ${connected(gateway)}`);
  });

describe('a Channel', () => {
  test('that connects says so, with its account and the path of its webhook', async () => {
    const gateway = await start(scriptedChannel(), world());
    await becomes(gateway, /^True Connected: connected as bot with one$/);
    expect(latest(gateway)).toMatchObject({ account: 'bot with one', path: '/channels/team' });
  });

  test('that cannot connect says why, is tried again, and heals', async () => {
    const platform = scriptedChannel();
    platform.connectFailures.push(new Error('no route'), new Error('no route'), new Error('no route'));
    const gateway = await start(platform, world());
    await becomes(gateway, /^False Disconnected: no route$/);
    await becomes(gateway, /^True Connected/);
  });

  test('whose credentials are refused says Unauthorized, and is tried at once when the Secret changes', async () => {
    const gateway = await start(scriptedChannel(), world(spec('bad')));
    await becomes(gateway, /^False Unauthorized: the platform refuses the token$/);
    expect((await gateway.deliver({ channel: 'team', chat: 'c', content: '{"text":"hi"}' })).outcome).toMatchObject({
      $case: 'retry',
      value: { reason: 'NoAdapter' },
    });
    gateway.secrets.set('bad', { token: 'mended' });
    await becomes(gateway, /^True Connected: connected as bot with mended$/);
  });

  test('whose Secret does not exist says which', async () => {
    const gateway = await start(scriptedChannel(), world(spec('missing')));
    await becomes(gateway, /^False Disconnected: .*Secret missing does not exist/);
  });

  test('that is changed connects anew before the old connection goes', async () => {
    const platform = scriptedChannel();
    const caches = world();
    const gateway = await start(platform, caches);
    await becomes(gateway, /with one/);
    caches.channels.set(channel('team', spec('second')));
    await becomes(gateway, /^True Connected: connected as bot with two$/);
    await eventually('the old one is closed', () => platform.closes === 1);
  });

  test('that is changed to bad credentials goes on with the old ones and says so; changed back, it is content', async () => {
    const platform = scriptedChannel();
    const caches = world();
    const gateway = await start(platform, caches);
    await becomes(gateway, /with one/);
    caches.channels.set(channel('team', spec('bad')));
    await becomes(gateway, /^True Connected: connected as bot with one; the changed spec or Secret is not in use: the platform refuses/);
    expect((await gateway.deliver({ channel: 'team', chat: 'c', content: '{"text":"hi"}' })).outcome?.$case).toBe('delivered');
    expect(platform.closes).toBe(0);
    caches.channels.set(channel('team', spec('first')));
    await becomes(gateway, /^True Connected: connected as bot with one$/);
  });

  test('whose settings of delivery alone change is not connected anew', async () => {
    const platform = scriptedChannel();
    const caches = world();
    const gateway = await start(platform, caches);
    await becomes(gateway, /with one/);
    caches.channels.set(channel('team', { ...spec(), inDoubt: 'DeadLetter' }));
    await eventually(
      'the new policy holds',
      async () => (await gateway.settle({ channel: 'team', chat: 'c', content: '{"text":"hi"}' }, 0)).policy === 'DeadLetter',
    );
    expect(platform.connects).toBe(1);
  });

  test('that is added while the gateway runs works; that is removed is gone', async () => {
    const platform = scriptedChannel();
    const caches = handCaches({});
    const gateway = await start(platform, caches);
    caches.channels.set(channel('team', spec()));
    await becomes(gateway, /^True/);
    caches.channels.delete('team');
    await eventually('its connection is closed', () => platform.closes === 1);
    expect((await gateway.post('team', '[]', { 'x-signature': 'good' })).status).toBe(404);
  });

  test('that the platform forgets is found out, and connected anew', async () => {
    const platform = scriptedChannel();
    const gateway = await start(platform, world());
    await becomes(gateway, /^True/);
    platform.connectFailures.push(new Error('still away'));
    platform.verifyFailure = new Error('no answer');
    // It is connected anew at once, and forgotten again: what was said in between counts.
    await eventually('it is said', () =>
      gateway.statuses.some(({ status }) =>
        status.conditions.some(({ type, reason }) => type === 'Connected' && reason === 'Disconnected'),
      ),
    );
    platform.verifyFailure = undefined;
    await becomes(gateway, /^True/);
  });

  test('writes its status when something changed, and not each time it is looked at', async () => {
    const gateway = await start(scriptedChannel(), world());
    await becomes(gateway, /^True/);
    const writes = gateway.statuses.length;
    const { promise, resolve } = Promise.withResolvers<void>();
    let looks = 0;
    const { secrets } = gateway;
    const get = secrets.get.bind(secrets);
    secrets.get = (name) => {
      looks += 1;
      if (looks === 10) resolve();
      return get(name);
    };
    await promise;
    expect(gateway.statuses.length).toBe(writes);
  });
});

describe('a Channel that listens', () => {
  test('gives what it hears to delivery, and is made anew when it dies', async () => {
    const platform = scriptedChannel({ listens: true });
    const gateway = await start(platform, world());
    await becomes(gateway, /^True/);
    await platform.sinks[0]?.([scriptedMessage('team', { eventId: '1', text: 'heard' })]);
    expect(gateway.inbox.texts()).toEqual(['heard']);
    platform.die(new Error('socket reset'));
    await eventually('it listens again', () => platform.connects === 2 && platform.sinks.length === 1);
    await becomes(gateway, /^True/);
    expect(gateway.statuses.some(({ status }) => status.conditions[0]?.message === 'socket reset')).toBe(true);
  });

  test('has one owner among several gateways, and the next takes over when the first closes', async () => {
    const platform = scriptedChannel({ listens: true });
    const caches = world();
    const queue: (() => void)[] = [];
    let owned = false;
    /** As a Lease: one at a time. */
    const ownership: Ownership = {
      hold: async (_name, work, signal) => {
        if (owned)
          await new Promise<void>((resolve) => {
            queue.push(resolve);
            signal.addEventListener('abort', () => resolve());
          });
        if (signal.aborted) return;
        owned = true;
        while (!signal.aborted) await work(signal);
        owned = false;
        queue.shift()?.();
      },
    };
    const one = await start(platform, caches, { ownership });
    const two = await start(platform, caches, { ownership });
    await becomes(one, /^True/);
    await eventually('both can deliver', () => platform.connects === 2);
    expect([platform.sinks.length, two.statuses.length]).toEqual([1, 0]);
    await one.gateway.close();
    await becomes(two, /^True/);
    expect(platform.sinks.length).toBe(1);
  });

  test('hears nothing more once the gateway is closed, and closing twice is harmless', async () => {
    const platform = scriptedChannel({ listens: true });
    const gateway = await start(platform, world());
    await becomes(gateway, /^True/);
    await Promise.all([gateway.gateway.close(), gateway.gateway.close()]);
    expect([platform.sinks.length, platform.closes]).toEqual([0, 1]);
  });
});
