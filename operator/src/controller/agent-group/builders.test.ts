import { AgentGroup, parse } from '@dovecote/crds';
import { expect, test } from '@jest/globals';
import { NETWORK_DEFAULTS } from '../config.ts';
import { expectGolden } from '../testing/golden-file.ts';
import { buildNetworkPolicy } from './network-policy.ts';
import { buildServiceAccount } from './service-account.ts';

const agentGroup = parse(AgentGroup, {
  apiVersion: 'dovecote.dev/v1alpha1',
  kind: 'AgentGroup',
  metadata: {
    name: 'helper',
    namespace: 'doves',
    uid: 'a9e47000-0000-4000-a000-000000000000',
    resourceVersion: '1',
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
  },
  spec: { provider: { type: 'demo' } },
});

test('buildServiceAccount()', () => {
  expectGolden(new URL('./golden/service-account.yaml', import.meta.url), buildServiceAccount(agentGroup));
});

test('buildNetworkPolicy()', () => {
  expectGolden(new URL('./golden/network-policy.yaml', import.meta.url), buildNetworkPolicy(agentGroup, NETWORK_DEFAULTS));
});

test('buildNetworkPolicy() can name a resolver that is no Pod', () => {
  const network = { ...NETWORK_DEFAULTS, dns: [...NETWORK_DEFAULTS.dns, { cidr: '169.254.20.10/32' }] };
  const [dns] = buildNetworkPolicy(agentGroup, network).spec?.egress ?? [];
  expect(dns?.to).toContainEqual({ ipBlock: { cidr: '169.254.20.10/32' } });
});
