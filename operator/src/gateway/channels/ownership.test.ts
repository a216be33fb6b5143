import type { Channel } from '@dovecote/crds';
import { afterEach, expect, test } from '@jest/globals';
import { EmbeddedStore } from '../../kube/embedded/embedded-store.ts';
import { channels as channelResources, leases } from '../../kube/resource-types.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import { systemRandom } from '../../lib/random.ts';
import { eventually } from '../testing/eventually.ts';
import { handCaches } from '../testing/objects.ts';
import { type ScriptedChannel, scriptedChannel } from '../testing/scripted-channel.ts';
import { type TestGateway, testGateway } from '../testing/test-gateway.ts';
import { leaseOwnership } from './lease-ownership.ts';

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const common = { clock: systemClock, random: systemRandom, log: silentLog };

async function cluster(): Promise<{
  store: EmbeddedStore;
  platform: ScriptedChannel;
  replica: (identity: string) => Promise<TestGateway>;
  read: () => Promise<Channel | undefined>;
}> {
  const store = new EmbeddedStore({ path: ':memory:', namespace: 'test', ...common });
  open.push(() => store.close());
  const made = await store.create(
    channelResources,
    { metadata: { name: 'team' }, spec: { type: 'local', local: {} } },
    { fieldManager: 'test' },
  );
  const platform = scriptedChannel({ listens: true });
  return {
    store,
    platform,
    read: () => store.get(channelResources, 'team'),
    replica: async (identity) => {
      const ownership = leaseOwnership({ store, identity, times: { leaseMs: 2_000, renewDeadlineMs: 1_000, retryMs: 50 }, ...common });
      const gateway = await testGateway(handCaches({ channels: [made] }), { store, ownership, channelTypes: { local: platform.type } });
      open.push(() => gateway.close());
      return gateway;
    },
  };
}

test('of two replicas one listens, by the Channel’s own Lease, and writes the status; when it closes, the other does', async () => {
  const { store, platform, replica, read } = await cluster();
  const one = await replica('one');
  await eventually('it listens', () => platform.sinks.length === 1);
  await replica('two');
  await eventually('the other is connected too', () => platform.connects === 2);
  const lease = await store.get(leases, 'dovecote-channel-team');
  expect(lease?.spec?.holderIdentity).toBe('one');
  await eventually('the status is written', async () => (await read())?.status?.conditions?.[0]?.status === 'True');
  expect((await read())?.status).toMatchObject({
    account: 'bot with no token',
    conditions: [{ type: 'Connected', status: 'True', reason: 'Connected', observedGeneration: 1 }],
  });
  expect(platform.sinks.length).toBe(1);
  await one.gateway.close();
  await eventually(
    'the other has taken over',
    async () => (await store.get(leases, 'dovecote-channel-team'))?.spec?.holderIdentity === 'two',
  );
  await eventually('and listens', () => platform.sinks.length === 1);
});
