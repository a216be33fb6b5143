import type { AgentGroup, Session } from '@dovecote/crds';
import { describe, expect, test } from '@jest/globals';
import { upstreams } from './upstreams.ts';

const agentGroup = (provider: object, uid = 'uid-1'): AgentGroup =>
  ({ metadata: { name: 'helper', uid }, spec: { provider } }) as unknown as AgentGroup;
const session = { metadata: { name: 's1' }, spec: { agentGroupRef: 'helper', agentGroupUid: 'uid-1' } } as unknown as Session;
const anthropic = { type: 'anthropic', anthropic: { credentialsRef: { name: 'anthropic', key: 'api-key' } } };

function lookup(agent: AgentGroup | undefined, data: Record<string, string> | undefined) {
  return upstreams({
    sessions: { get: (name) => (name === 's1' ? session : undefined) },
    agentGroups: { get: () => agent },
    secrets: async () => data,
  });
}

describe('where the requests of a session go', () => {
  test('to the public API, with the key of the Secret that its AgentGroup names', async () => {
    expect(await lookup(agentGroup(anthropic), { 'api-key': 'k\n' })('s1')).toEqual({
      found: true,
      upstream: { baseURL: 'https://api.anthropic.com', apiKey: 'k' },
    });
  });

  test.each([
    ['a session that does not exist', agentGroup(anthropic), { 'api-key': 'k' }, 'other', /no AgentGroup for session other/],
    ['an AgentGroup that was made anew', agentGroup(anthropic, 'uid-2'), { 'api-key': 'k' }, 's1', /no AgentGroup for session s1/],
    ['a provider without credentials', agentGroup({ type: 'demo' }), {}, 's1', /has no provider that the proxy serves/],
    ['a Secret that is not there', agentGroup(anthropic), undefined, 's1', /Secret anthropic has no key api-key/],
    ['an empty key', agentGroup(anthropic), { 'api-key': '' }, 's1', /Secret anthropic has no key api-key/],
  ])('nowhere, for %s', async (_, agent, data, name, sentence) => {
    const answer = await lookup(agent, data as Record<string, string> | undefined)(name);
    expect(answer.found).toBe(false);
    if (!answer.found) expect(answer.sentence).toMatch(sentence);
  });
});
