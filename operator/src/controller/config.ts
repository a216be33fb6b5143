import type { PodRuntime } from './session/runtime.ts';

/** A label selector of the NetworkPolicy API, reduced to what we need of it. */
export interface Peer {
  readonly namespaceLabels?: Readonly<Record<string, string>>;
  readonly podLabels?: Readonly<Record<string, string>>;
  /** Instead of labels, for a resolver that is no Pod of the cluster's network. */
  readonly cidr?: string;
}

/** What the network policies of agents need to know. Ports are those of Pods, not of Services. */
export interface NetworkConfig {
  /** False: whoever runs the cluster fences Pods in by other means. What we made before is removed. */
  readonly enabled: boolean;
  /** Where the cluster's DNS is. */
  readonly dns: readonly Peer[];
  readonly deliveryPort: number;
  readonly proxyPort: number;
  /** Of the ContainerService in a session's Pod. */
  readonly runnerPort: number;
}

export const NETWORK_DEFAULTS: NetworkConfig = {
  enabled: true,
  dns: [{ namespaceLabels: { 'kubernetes.io/metadata.name': 'kube-system' }, podLabels: { 'k8s-app': 'kube-dns' } }],
  deliveryPort: 7_070,
  proxyPort: 8_080,
  runnerPort: 9_090,
};

export interface ControllerConfig {
  /** Every shard that exists, by name. */
  readonly shards: readonly string[];
  readonly runtime: PodRuntime;
  readonly network: NetworkConfig;
  /** Reconciliations at once, per kind. */
  readonly workers: { readonly session: number; readonly other: number };
  /** Who we are in the Lease: unique among the controllers of an installation. */
  readonly identity: string;
}

export const WORKERS_DEFAULT: ControllerConfig['workers'] = { session: 8, other: 2 };
