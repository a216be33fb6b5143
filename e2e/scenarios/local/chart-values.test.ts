/** What the chart makes of its values, and whether the roles understand it. */
import { spawnSync } from 'node:child_process';
import { AgentGroup, parse } from '@dovecote/crds';
import { describe, expect, jest, test } from '@jest/globals';
import { buildNetworkPolicy } from '../../../operator/src/controller/agent-group/network-policy.ts';
import { NETWORK_DEFAULTS } from '../../../operator/src/controller/config.ts';
import { dnsPeers } from '../../../operator/src/flag-values.ts';
import { helmPath, renderChart } from '../../harness/helm.ts';

jest.setTimeout(60_000);

interface Workload {
  readonly template: { readonly spec: { readonly containers: readonly { readonly args: readonly string[] }[] } };
}
interface Policy {
  readonly egress?: readonly { readonly to: readonly object[] }[];
}
type Chart = ReturnType<typeof renderChart>;

const argsOf = (chart: Chart, role: string): readonly string[] => {
  const found = chart.find(({ kind, metadata }) => ['Deployment', 'StatefulSet'].includes(kind) && metadata.name === `dovecote-${role}`);
  return (found?.spec as Workload | undefined)?.template.spec.containers[0]?.args ?? [];
};
const flag = (args: readonly string[], name: string): string | undefined =>
  args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);

if (helmPath === undefined) test.skip('the chart is rendered where there is a helm (HELM names one)', () => {});
else
  describe('the chart', () => {
    const agent = parse(AgentGroup, {
      apiVersion: 'dovecote.dev/v1alpha1',
      kind: 'AgentGroup',
      metadata: {
        name: 'helper',
        namespace: 'doves',
        uid: 'u',
        resourceVersion: '1',
        generation: 1,
        creationTimestamp: '2026-01-01T00:00:00Z',
      },
      spec: { provider: { type: 'demo' } },
    });

    test.each([
      ['as it comes', [], [{ namespaceLabels: { 'kubernetes.io/metadata.name': 'kube-system' }, podLabels: { 'k8s-app': 'kube-dns' } }]],
      [
        'with other resolvers',
        ['networkPolicy.dns.podLabels={"app":"dns"}', 'networkPolicy.dns.cidrs=["169.254.20.10/32"]'],
        [
          // Helm lays maps over each other: what is there by default stays unless it is set to null.
          { namespaceLabels: { 'kubernetes.io/metadata.name': 'kube-system' }, podLabels: { 'k8s-app': 'kube-dns', app: 'dns' } },
          { cidr: '169.254.20.10/32' },
        ],
      ],
    ])('%s gives the policies of agents the DNS that its own policy for sessions has', (_, values, peers) => {
      const chart = renderChart(...values);
      const dns = dnsPeers(flag(argsOf(chart, 'controller'), 'dns') ?? '');
      expect(dns).toEqual(peers);
      const own = chart.find(({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === 'dovecote-sessions')?.spec as Policy;
      const built = buildNetworkPolicy(agent, { ...NETWORK_DEFAULTS, dns });
      expect(built.spec?.egress?.[0]?.to).toEqual(own.egress?.[0]?.to);
    });

    test('without network policies has none, and tells the controller to make none', () => {
      const chart = renderChart('networkPolicy.enabled=false');
      expect(chart.filter(({ kind }) => kind === 'NetworkPolicy')).toEqual([]);
      expect(argsOf(chart, 'controller')).toContain('--no-network-policies');
      expect(argsOf(renderChart(), 'controller')).not.toContain('--no-network-policies');
    });

    test('tells delivery how long what a deleted agent leaves behind is kept', () => {
      expect(argsOf(renderChart(), 'delivery')).toEqual(expect.arrayContaining(['--orphan-wait=24h', '--trash-retention=168h']));
      const other = renderChart('delivery.orphanWait="90m"', 'delivery.trashRetention="720h"');
      expect(argsOf(other, 'delivery')).toEqual(expect.arrayContaining(['--orphan-wait=90m', '--trash-retention=720h']));
    });

    test.each([
      ['delivery.orphanWait="1 day"', '/delivery/orphanWait'],
      ['delivery.trashRetention=7', '/delivery/trashRetention'],
      ['networkPolicy.dns.cidrs=["the router"]', '/networkPolicy/dns/cidrs/0'],
    ])('refuses %s', (value, place) => {
      expect(() => renderChart(value)).toThrow(place);
    });

    test.each(['controller', 'gateway', 'delivery', 'proxy'])('gives the %s no flag that it does not know', (role) => {
      const args = argsOf(renderChart('tolerations=[{"key":"x"}]', 'gateway.publicUrl="https://bots.example.com"'), role);
      expect(args[0]).toBe(role);
      // The first that is unknown is named: this one, when all before it are known, and their values are read.
      const { status, stderr } = spawnSync(process.execPath, ['operator/src/main.ts', ...args, '--not-a-flag'], {
        encoding: 'utf8',
        env: { PATH: process.env['PATH'] },
      });
      expect(stderr).toContain("unknown option '--not-a-flag'");
      expect(status).toBe(1);
    });
  });
