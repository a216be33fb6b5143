/** What a session's Pod must be told about the place it runs in. Two of them: a cluster, and the processes of local mode. */
export interface PodRuntime {
  /** The runner image for agents that name none. */
  readonly image: string;
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  readonly imagePullSecrets?: readonly string[];
  /** `host:port` of the runner's ContainerService; may use $(POD_IP). */
  readonly listen: string;
  /** Where delivery serves Attach: a template with "{shard}". */
  readonly attach: string;
  /** The URL of the proxy: all that a runner reaches besides its delivery. */
  readonly proxy: string;
  /** Name of the PersistentVolumeClaim of a shard: a template with "{shard}". */
  readonly claim: string;
  /** The label by which a shard's delivery Pod is found; its value is the shard. */
  readonly shardLabel: string;
  readonly logLevel: string;
  /** Per resource, for agents that say nothing about it. */
  readonly requests: Readonly<Record<string, string>>;
  readonly limits: Readonly<Record<string, string>>;
  /** Size limit of /tmp. */
  readonly tmpSize: string;
  readonly priorityClassName?: string;
  readonly tolerations?: readonly Readonly<Record<string, string | number>>[];
  /** Lower-case parts of names of runtime classes that have a kernel of their own. */
  readonly ownKernelRuntimes: readonly string[];
}

/** Under these a cell's files would have two kernels, and SQLite's locks would protect nothing. */
export const OWN_KERNEL_RUNTIMES = ['gvisor', 'runsc', 'kata', 'firecracker', 'edera', 'urunc'] as const;

const DEFAULTS = {
  claim: 'data-dovecote-delivery-{shard}',
  shardLabel: 'dovecote.dev/shard',
  logLevel: 'info',
  requests: { cpu: '50m', memory: '128Mi' },
  limits: { memory: '1Gi', 'ephemeral-storage': '1Gi' },
  tmpSize: '256Mi',
  ownKernelRuntimes: OWN_KERNEL_RUNTIMES,
} as const;

type Essential = Pick<PodRuntime, 'image' | 'attach' | 'proxy'>;

/** On a cluster. The Pod's own address is bound, not every address, so that what the runner reports is where it can be reached. */
export function clusterRuntime(options: Essential & Partial<PodRuntime>): PodRuntime {
  return { ...DEFAULTS, listen: '$(POD_IP):9090', ...options };
}

/** In local mode: all runners share one network, so each takes a free port of the loopback. The kubelet translates the paths. */
export function localRuntime(options: Omit<Essential, 'image'> & Partial<PodRuntime>): PodRuntime {
  return { ...DEFAULTS, image: 'localhost/dovecote-runner', listen: '127.0.0.1:0', ...options };
}
