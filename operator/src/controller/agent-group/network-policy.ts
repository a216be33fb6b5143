import type { AgentGroup } from '@dovecote/crds';
import type { NetworkPolicy } from '../../kube/resource-types.ts';
import type { NewObject } from '../../kube/store.ts';
import type { NetworkConfig, Peer } from '../config.ts';
import { Component, Label } from '../labels.ts';
import { agentMeta } from './service-account.ts';

/**
 * An agent's Pods hear nobody but delivery and reach nothing but names, delivery and the proxy. A cluster whose network does not
 * enforce policies lets everything through: the installation's preflight finds that out, not this.
 */
export function buildNetworkPolicy(agentGroup: AgentGroup, network: NetworkConfig): NewObject<NetworkPolicy> {
  const component = (name: string) => [{ podSelector: { matchLabels: { [Label.component]: name } } }];
  // A value of its own because client-node calls the field `_from`, which is not what stands on the wire.
  const fromDelivery = { from: component(Component.delivery), ports: [{ protocol: 'TCP', port: network.runnerPort }] };
  return {
    metadata: agentMeta(agentGroup),
    spec: {
      podSelector: { matchLabels: { [Label.component]: Component.session, [Label.agentGroup]: agentGroup.metadata.name } },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [fromDelivery],
      egress: [
        {
          to: network.dns.map(peer),
          ports: [
            { protocol: 'UDP', port: 53 },
            { protocol: 'TCP', port: 53 },
          ],
        },
        { to: component(Component.delivery), ports: [{ protocol: 'TCP', port: network.deliveryPort }] },
        { to: component(Component.proxy), ports: [{ protocol: 'TCP', port: network.proxyPort }] },
      ],
    },
  };
}

function peer({ cidr, namespaceLabels, podLabels }: Peer) {
  if (cidr !== undefined) return { ipBlock: { cidr } };
  return {
    ...(namespaceLabels !== undefined && { namespaceSelector: { matchLabels: namespaceLabels } }),
    ...(podLabels !== undefined && { podSelector: { matchLabels: podLabels } }),
  };
}
