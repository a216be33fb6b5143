import type { ChannelSpecInput } from '@dovecote/crds';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { channels } from '../../kube/resource-types.ts';
import { TestBench, told } from '../testing/test-bench.ts';
import { wantedCredentials } from './observe.ts';

let bench: TestBench;

beforeEach(async () => {
  bench = new TestBench();
  await bench.start();
});
afterEach(() => bench.close());

const channel = async (name: string, spec: ChannelSpecInput) => {
  await bench.store.apply(channels, { metadata: { name }, spec }, { fieldManager: 'kubectl' });
  await bench.advance();
};
const look = async (name: string) => (await bench.store.get(channels, name)) ?? {};
const slack: ChannelSpecInput = { type: 'slack', slack: { mode: 'Socket', credentialsRef: { name: 'slack' } } };
const gatewaySays = async (name: string, status: 'True' | 'False', reason: string, more: object = {}) => {
  const condition = { type: 'Connected', status, reason, message: 'the gateway said so', lastTransitionTime: bench.time() };
  await bench.store.applyStatus(channels, name, { conditions: [condition], ...more }, { fieldManager: 'dovecote-gateway' });
  await bench.advance();
};

describe('wantedCredentials()', () => {
  const credentialsRef = { name: 's' };
  test.each([
    { spec: { slack: { mode: 'Webhook' as const, credentialsRef } }, keys: ['bot-token', 'signing-secret'] },
    { spec: { slack: { mode: 'Socket' as const, credentialsRef } }, keys: ['bot-token', 'app-token'] },
    { spec: { telegram: { mode: 'Webhook' as const, credentialsRef } }, keys: ['bot-token', 'webhook-secret'] },
    { spec: { telegram: { mode: 'Poll' as const, credentialsRef } }, keys: ['bot-token'] },
    { spec: {}, keys: undefined },
  ])('$spec', ({ spec, keys }) => expect(wantedCredentials(spec)?.keys).toEqual(keys));
});

describe('a Channel', () => {
  test('of the local kind needs nothing', async () => {
    await channel('local', { type: 'local' });
    expect(told(await look('local'))).toBe('Ready=True/Accepted');
  });

  test('waits for its Secret', async () => {
    await channel('main', slack);
    expect(told(await look('main'))).toBe('Ready=False/SecretMissing CredentialsFound=False/SecretMissing');
    await bench.secret('slack', { 'bot-token': 'xoxb' });
    await bench.advance(10_000);
    expect(told(await look('main'))).toBe('Ready=False/SecretKeyMissing CredentialsFound=False/SecretKeyMissing');
    await bench.secret('slack', { 'bot-token': 'xoxb', 'app-token': 'xapp' });
    await bench.advance(10_000);
    expect(told(await look('main'))).toBe('Ready=True/Accepted CredentialsFound=True/Found');
  });

  test('shares its status with the gateway, each its own part', async () => {
    await bench.secret('slack', { 'bot-token': 'xoxb', 'app-token': 'xapp' });
    await channel('main', slack);
    bench.counting.takeWrites();
    await gatewaySays('main', 'True', 'Connected', { account: 'birds@slack' });
    expect(bench.counting.takeWrites()).toEqual([]);
    await channel('main', { ...slack, inDoubt: 'DeadLetter' });
    const found = await bench.store.get(channels, 'main');
    expect(found?.status).toMatchObject({ account: 'birds@slack', observedGeneration: 2 });
    expect(
      told(found ?? {})
        .split(' ')
        .sort()
        .join(' '),
    ).toBe('Connected=True/Connected CredentialsFound=True/Found Ready=True/Accepted');
  });

  test('is not Ready when the platform refuses its credentials, and stays Ready while a lost connection is made anew', async () => {
    await bench.secret('slack', { 'bot-token': 'xoxb', 'app-token': 'xapp' });
    await channel('main', slack);
    await gatewaySays('main', 'False', 'Disconnected');
    expect(told(await look('main'))).toContain('Ready=True/Accepted');
    await gatewaySays('main', 'False', 'Unauthorized');
    expect(told(await look('main'))).toContain('Ready=False/Unauthorized');
    await gatewaySays('main', 'True', 'Connected');
    expect(told(await look('main'))).toContain('Ready=True/Accepted');
    expect((await bench.events()).map(({ type, reason }) => [type, reason])).toEqual([
      ['Warning', 'Unauthorized'],
      ['Normal', 'Accepted'],
    ]);
  });
});
