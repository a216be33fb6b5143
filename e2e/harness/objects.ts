/** Custom resources for scenarios, as files that local mode reads. */
import type { AgentGroupSpecInput, ChannelSpecInput, DestinationSpecInput, MessagingGroupSpecInput } from '@dovecote/crds';

export type Manifests = Readonly<Record<string, string>>;

interface Specs {
  readonly AgentGroup: AgentGroupSpecInput;
  readonly Channel: ChannelSpecInput;
  readonly MessagingGroup: MessagingGroupSpecInput;
  readonly Destination: DestinationSpecInput;
}

/** One file with one object. */
export function manifest<K extends keyof Specs>(kind: K, name: string, spec: Specs[K]): Manifests {
  return {
    [`${kind}-${name}.json`.toLowerCase()]: JSON.stringify({ apiVersion: 'dovecote.dev/v1alpha1', kind, metadata: { name }, spec }),
  };
}

export function secret(name: string, stringData: Readonly<Record<string, string>>): Manifests {
  return { [`secret-${name}.json`]: JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData }) };
}

export function configMap(name: string, data: Readonly<Record<string, string>>): Manifests {
  return { [`configmap-${name}.json`]: JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data }) };
}

/** An agent that answers by the demo provider. */
export function demoAgent(name: string, spec: Partial<AgentGroupSpecInput> = {}): Manifests {
  return manifest('AgentGroup', name, { provider: { type: 'demo' }, idleTimeout: '10m', ...spec });
}

/** The agent `assistant` behind the Channel `web`, open to everyone. */
export function webAgent(spec: Partial<AgentGroupSpecInput> = {}): Manifests {
  return {
    ...demoAgent('assistant', spec),
    ...manifest('Channel', 'web', { type: 'local' }),
    ...manifest('MessagingGroup', 'web', {
      channelRef: 'web',
      chatClass: 'Any',
      unknownSenders: 'Public',
      agents: [{ agentGroupRef: 'assistant', engage: { mode: 'Always' } }],
    }),
  };
}
