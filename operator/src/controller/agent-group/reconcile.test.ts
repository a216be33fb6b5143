import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ForbiddenError } from '../../kube/errors.ts';
import { agentGroups, configMaps, networkPolicies, secrets, serviceAccounts } from '../../kube/resource-types.ts';
import { TestBench, told } from '../testing/test-bench.ts';

let bench: TestBench;

beforeEach(() => {
  bench = new TestBench({ shards: ['0', '1'] });
});
afterEach(() => bench.close());

const look = async (name: string) => {
  const found = await bench.store.get(agentGroups, name);
  if (found === undefined) throw new Error(`there is no AgentGroup ${name}`);
  return found;
};
const anthropic = { provider: { type: 'anthropic' as const, anthropic: { credentialsRef: { name: 'anthropic' } } } };

describe('a new AgentGroup', () => {
  test('gets a shard, a ServiceAccount and a fence before its status says that it is there', async () => {
    await bench.start();
    await bench.agentGroup('helper');
    await bench.advance();
    expect(bench.counting.takeWrites()).toEqual(['apply ServiceAccount', 'apply NetworkPolicy', 'applyStatus AgentGroup']);
    const agent = await look('helper');
    expect(agent.status).toMatchObject({ shards: ['0'], sessions: 0, awakeSessions: 0, observedGeneration: 1 });
    expect(told(agent)).toBe('Ready=True/Accepted ShardsAssigned=True/Assigned');
    expect(await bench.store.get(serviceAccounts, 'dovecote-agent-helper')).toMatchObject({ automountServiceAccountToken: false });
    expect((await bench.store.get(networkPolicies, 'dovecote-agent-helper'))?.metadata.ownerReferences?.[0]?.uid).toBe(agent.metadata.uid);
    expect(await bench.events()).toEqual([]);
  });

  test('goes to the shard with the fewest agents', async () => {
    await bench.start();
    for (const name of ['a', 'b', 'c']) {
      await bench.agentGroup(name);
      await bench.advance();
    }
    const shards = await Promise.all(['a', 'b', 'c'].map(async (name) => (await look(name)).status?.shards?.[0]));
    expect(shards).toEqual(['0', '1', '0']);
  });

  test('says so when there are not enough shards, and gets what comes', async () => {
    await bench.start();
    await bench.agentGroup('wide', { provider: { type: 'demo' }, shards: { count: 3 } });
    await bench.advance();
    const agent = await look('wide');
    expect(agent.status?.shards).toEqual(['0', '1']);
    expect(told(agent)).toBe('Ready=False/NoShard ShardsAssigned=False/NoShard');
    expect(await bench.events()).toMatchObject([{ type: 'Warning', reason: 'NoShard' }]);
    await bench.restart({ shards: ['0', '1', '2'] });
    expect((await look('wide')).status?.shards).toEqual(['0', '1', '2']);
    expect(told(await look('wide'))).toContain('Ready=True');
  });

  test('whose shards were forgotten finds them by its Sessions', async () => {
    const agent = await bench.agentGroup('helper');
    await bench.session(agent, { shard: '1' });
    await bench.start();
    expect((await look('helper')).status?.shards).toEqual(['1']);
  });
});

describe('where policies are not wanted', () => {
  const policy = () => bench.store.get(networkPolicies, 'dovecote-agent-helper');

  test('there is none, the one that was made before goes, and it comes back when they are wanted again', async () => {
    await bench.start();
    await bench.agentGroup('helper');
    await bench.advance();
    expect(await policy()).toBeDefined();
    await bench.restart({ network: { ...bench.config.network, enabled: false } });
    expect(await policy()).toBeUndefined();
    expect(told(await look('helper'))).toContain('Ready=True');
    await bench.restart({ network: { ...bench.config.network, enabled: true } });
    expect(await policy()).toBeDefined();
  });

  test("another's of that name is left alone", async () => {
    Object.assign(bench.config, { network: { ...bench.config.network, enabled: false } });
    const theirs = { metadata: { name: 'dovecote-agent-helper' }, spec: { podSelector: {}, policyTypes: ['Egress'] } };
    await bench.store.create(networkPolicies, theirs, { fieldManager: 'people' });
    await bench.start();
    await bench.agentGroup('helper');
    await bench.advance();
    expect(await policy()).toMatchObject({ spec: { policyTypes: ['Egress'] } });
  });
});

describe('credentials', () => {
  test('are looked for by name only, and found when they come', async () => {
    await bench.start();
    await bench.agentGroup('careful', anthropic);
    await bench.advance();
    expect(told(await look('careful'))).toBe('Ready=False/SecretMissing ShardsAssigned=True/Assigned CredentialsFound=False/SecretMissing');
    await bench.secret('anthropic', { 'other-key': 'x' });
    await bench.advance(10_000);
    expect(told(await look('careful'))).toContain('CredentialsFound=False/SecretKeyMissing');
    expect((await look('careful')).status?.conditions?.[2]?.message).toBe(
      'Secret anthropic has no key api-key. Add it; it is found by itself.',
    );
    await bench.secret('anthropic', { 'api-key': '' });
    await bench.advance(10_000);
    expect(told(await look('careful'))).toContain('CredentialsFound=False/SecretKeyMissing');
    await bench.secret('anthropic', { 'api-key': 'sk-1' });
    await bench.advance(10_000);
    expect(told(await look('careful'))).toBe('Ready=True/Accepted ShardsAssigned=True/Assigned CredentialsFound=True/Found');
    expect((await bench.events()).map(({ type, reason }) => [type, reason])).toEqual([
      ['Warning', 'SecretMissing'],
      ['Warning', 'SecretKeyMissing'],
      ['Normal', 'Accepted'],
    ]);
  });

  test('that are there are looked at again now and then, without a write', async () => {
    await bench.secret('anthropic', { 'api-key': 'sk-1' });
    await bench.agentGroup('careful', anthropic);
    await bench.start();
    bench.counting.reads.splice(0);
    await bench.advance(300_000);
    expect(bench.counting.reads).toEqual(['get Secret']);
    expect(bench.counting.takeWrites()).toEqual([]);
    await bench.store.delete(secrets, 'anthropic');
    await bench.advance(300_000);
    expect(told(await look('careful'))).toContain('CredentialsFound=False/SecretMissing');
  });

  test('of MCP servers: the server without them is named, and the agent answers all the same', async () => {
    await bench.secret('tickets', { token: 't' });
    const server = (name: string, secret: string) => ({
      name,
      type: 'http' as const,
      http: { url: `https://${name}.example.com/`, headers: [{ name: 'Authorization', prefix: 'Bearer ', secretRef: { name: secret } }] },
    });
    await bench.agentGroup('helper', {
      provider: { type: 'demo' },
      mcpServers: [server('tickets', 'tickets'), server('wiki', 'wiki'), { name: 'files', type: 'stdio', stdio: { command: ['files'] } }],
    });
    await bench.start();
    expect(told(await look('helper'))).toBe('Ready=True/Accepted ShardsAssigned=True/Assigned McpCredentialsFound=False/SecretMissing');
    expect((await look('helper')).status?.conditions?.[2]?.message).toBe(
      'MCP server wiki is refused: Secret wiki does not exist. Create it with key token; it is found by itself.',
    );
    await bench.secret('wiki', { token: 't' });
    await bench.advance(10_000);
    expect(told(await look('helper'))).toBe('Ready=True/Accepted ShardsAssigned=True/Assigned McpCredentialsFound=True/Found');
  });

  test('that may not be read are said to be so', async () => {
    const get = bench.counting.get;
    Object.assign(bench.counting, {
      get: async (...call: Parameters<typeof get>) => {
        if (call[0].kind === 'Secret') throw new ForbiddenError('secrets "anthropic" is forbidden');
        return get(...call);
      },
    });
    await bench.agentGroup('careful', anthropic);
    await bench.start();
    expect(told(await look('careful'))).toContain('Ready=Unknown/Error');
    expect((await look('careful')).status?.conditions?.[2]?.message).toContain('grant the controller "get"');
  });

  test('never stand in a status', async () => {
    await bench.secret('anthropic', { 'api-key': 'sk-very-secret' });
    await bench.agentGroup('careful', anthropic);
    await bench.start();
    expect(JSON.stringify(await look('careful'))).not.toContain('very-secret');
  });
});

describe('skills', () => {
  test('whose ConfigMap is missing are a condition that heals, and leave the agent ready', async () => {
    await bench.agentGroup('helper', { provider: { type: 'demo' }, skills: [{ configMapRef: 'zoo' }, { configMapRef: 'art' }] });
    await bench.store.create(configMaps, { metadata: { name: 'art' }, data: { 'README.md': 'x' } }, { fieldManager: 'kubectl' });
    await bench.start();
    expect(told(await look('helper'))).toBe('Ready=True/Accepted ShardsAssigned=True/Assigned RefsResolved=False/ReferenceMissing');
    const message = (await look('helper')).status?.conditions?.find(({ type }) => type === 'RefsResolved')?.message;
    expect(message).toContain('ConfigMap art has no key SKILL.md. ConfigMap zoo does not exist.');
    await bench.store.create(configMaps, { metadata: { name: 'zoo' }, data: { 'SKILL.md': 'x' } }, { fieldManager: 'kubectl' });
    await bench.store.patch(configMaps, 'art', { data: { 'SKILL.md': 'x' } }, { fieldManager: 'kubectl' });
    await bench.advance(10_000);
    expect(told(await look('helper'))).toBe('Ready=True/Accepted ShardsAssigned=True/Assigned RefsResolved=True/Found');
  });
});

describe('counts of sessions', () => {
  test('are written at most every 10 s, however many wake', async () => {
    const agent = await bench.agentGroup('helper');
    await bench.start();
    for (let i = 0; i < 20; i += 1) {
      const name = await bench.session(agent, { awake: true, scope: `local/${i}` });
      await bench.advance(100);
      await bench.runs(name);
    }
    await bench.advance(10_000);
    expect(bench.counting.takeWrites().filter((write) => write === 'applyStatus AgentGroup')).toHaveLength(1);
    expect((await look('helper')).status).toMatchObject({ sessions: 20, awakeSessions: 20 });
  });
});

describe('what someone changed by hand', () => {
  test('is put right within 10 minutes', async () => {
    await bench.agentGroup('careful', anthropic);
    await bench.secret('anthropic', { 'api-key': 'sk-1' });
    await bench.start();
    const name = 'dovecote-agent-careful';
    await bench.store.patch(networkPolicies, name, { spec: { egress: null } }, { fieldManager: 'kubectl' });
    await bench.advance(900_000);
    expect((await bench.store.get(networkPolicies, name))?.spec?.egress).toHaveLength(3);
  });
});

describe('a budget', () => {
  test('is a condition of delivery beside ours: it stays, and costs no write', async () => {
    await bench.agentGroup('helper', { provider: { type: 'demo' }, budget: { tokens: 10 } });
    await bench.start();
    const condition = {
      type: 'WithinBudget',
      status: 'False',
      reason: 'BudgetExhausted',
      message: 'so it is',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    await bench.store.applyStatus(agentGroups, 'helper', { conditions: [condition] }, { fieldManager: 'dovecote-delivery' });
    bench.counting.takeWrites();
    await bench.advance(300_000);
    expect(told(await look('helper'))).toBe('Ready=True/Accepted ShardsAssigned=True/Assigned WithinBudget=False/BudgetExhausted');
    expect(bench.counting.takeWrites()).toEqual([]);
  });
});
