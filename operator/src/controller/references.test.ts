import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { agentGroups, channels, destinations, messagingGroups } from '../kube/resource-types.ts';
import { TestBench, told } from './testing/test-bench.ts';

let bench: TestBench;

beforeEach(async () => {
  bench = new TestBench();
  await bench.start();
});
afterEach(() => bench.close());

const channel = async (name: string) => {
  await bench.store.apply(channels, { metadata: { name }, spec: { type: 'local' } }, { fieldManager: 'kubectl' });
  await bench.advance();
};
const agent = async (name: string) => {
  await bench.agentGroup(name);
  await bench.advance();
};
const wire = async (
  name: string,
  chatId = 'C1',
  agents: readonly { agentGroupRef: string; priority?: number }[] = [{ agentGroupRef: 'helper' }],
) => {
  await bench.store.apply(
    messagingGroups,
    { metadata: { name }, spec: { channelRef: 'main', chatId, agents } },
    { fieldManager: 'kubectl' },
  );
  await bench.advance(1_000);
};
const messagingGroup = async (name: string) => (await bench.store.get(messagingGroups, name)) ?? {};
const destination = async (name: string) => (await bench.store.get(destinations, name)) ?? {};

describe('a MessagingGroup', () => {
  test('names what is missing, and heals by itself as it comes', async () => {
    await wire('room');
    const missing = await bench.store.get(messagingGroups, 'room');
    expect(told(missing ?? {})).toBe('Ready=False/ReferenceMissing RefsResolved=False/ReferenceMissing');
    expect(missing?.status?.conditions?.[0]?.message).toMatch(/^Channel main, AgentGroup helper do not exist\./);
    await channel('main');
    expect((await bench.store.get(messagingGroups, 'room'))?.status?.conditions?.[0]?.message).toMatch(
      /^AgentGroup helper does not exist\./,
    );
    await agent('helper');
    const healed = await bench.store.get(messagingGroups, 'room');
    expect(told(healed ?? {})).toBe('Ready=True/Accepted RefsResolved=True/Found');
    expect(healed?.status).toMatchObject({ agents: 'helper', wired: 1 });
  });

  test('says so when what it names is deleted', async () => {
    await channel('main');
    await agent('helper');
    await wire('room');
    await bench.store.delete(agentGroups, 'helper');
    await bench.advance();
    expect(told(await messagingGroup('room'))).toContain('RefsResolved=False/ReferenceMissing');
    expect(await bench.events()).toMatchObject([
      { type: 'Warning', reason: 'ReferenceMissing', regarding: { kind: 'MessagingGroup', name: 'room' } },
    ]);
  });

  test('lists its agents in the order in which they are asked', async () => {
    await channel('main');
    await agent('b');
    await wire('room', 'C1', [{ agentGroupRef: 'a' }, { agentGroupRef: 'b', priority: 5 }, { agentGroupRef: 'c' }]);
    expect((await bench.store.get(messagingGroups, 'room'))?.status).toMatchObject({ agents: 'b, a, c', wired: 1 });
  });

  test('of which another is older for the same chat says so, until the other goes', async () => {
    await channel('main');
    await agent('helper');
    await wire('first');
    await wire('second');
    await wire('third', 'C2');
    expect(told(await messagingGroup('first'))).toContain('Ready=True');
    expect(told(await messagingGroup('second'))).toBe('Ready=False/Conflict RefsResolved=True/Found');
    expect(told(await messagingGroup('third'))).toContain('Ready=True');
    await bench.store.delete(messagingGroups, 'first');
    await bench.advance();
    expect(told(await messagingGroup('second'))).toContain('Ready=True');
  });

  test('costs one write, and none when nothing changes', async () => {
    await channel('main');
    await agent('helper');
    bench.counting.takeWrites();
    await wire('room');
    expect(bench.counting.takeWrites()).toEqual(['applyStatus MessagingGroup']);
    await bench.advance(600_000);
    expect(bench.counting.takeWrites().filter((write) => write.includes('MessagingGroup'))).toEqual([]);
  });
});

describe('a Destination', () => {
  const send = async (name: string, target: object, localName = 'news') => {
    const spec = { agentGroupRef: 'helper', localName, target } as never;
    await bench.store.apply(destinations, { metadata: { name }, spec }, { fieldManager: 'kubectl' });
    await bench.advance(1_000);
  };
  const toChat = { type: 'channel', channel: { channelRef: 'main', chatId: 'C1' } };
  const toAgent = { type: 'agent', agent: { agentGroupRef: 'expert' } };

  test('to a chat heals when agent and Channel come', async () => {
    await send('d', toChat);
    expect(told(await destination('d'))).toBe('Ready=False/ReferenceMissing RefsResolved=False/ReferenceMissing');
    await channel('main');
    await agent('helper');
    expect(told(await destination('d'))).toBe('Ready=True/Accepted RefsResolved=True/Found');
    await bench.store.delete(channels, 'main');
    await bench.advance();
    expect(told(await destination('d'))).toContain('RefsResolved=False/ReferenceMissing');
  });

  test('to an agent heals when that comes', async () => {
    await agent('helper');
    await send('d', toAgent);
    expect((await bench.store.get(destinations, 'd'))?.status?.conditions?.[0]?.message).toMatch(/^AgentGroup expert does not exist\./);
    await agent('expert');
    expect(told(await destination('d'))).toContain('Ready=True');
  });

  test('with a name that its agent knows already says so, until it is renamed', async () => {
    await agent('helper');
    await agent('expert');
    await send('first', toAgent);
    await send('second', toAgent);
    expect(told(await destination('second'))).toContain('Ready=False/Conflict');
    await send('first', toAgent, 'old-news');
    expect(told(await destination('second'))).toContain('Ready=True');
  });
});
