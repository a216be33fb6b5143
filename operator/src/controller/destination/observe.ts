import type { AgentGroup, Channel, Destination } from '@dovecote/crds';
import type { ResourceCache } from '../../kube/resource-cache.ts';
import type { OwnWrites } from '../own-writes.ts';

/** The indexes of Destinations by what they name. */
export const DESTINATION_INDEXES = {
  channel: ({ spec }: Destination) => (spec.target.channel === undefined ? [] : [spec.target.channel.channelRef]),
  agentGroup: ({ spec }: Destination) => [
    ...new Set([spec.agentGroupRef, ...(spec.target.agent === undefined ? [] : [spec.target.agent.agentGroupRef])]),
  ],
} as const;

export interface Sight {
  readonly own: OwnWrites<Destination>;
  readonly destinations: Pick<ResourceCache<Destination, keyof typeof DESTINATION_INDEXES>, 'byIndex'>;
  readonly channels: Pick<ResourceCache<Channel>, 'get'>;
  readonly agentGroups: Pick<ResourceCache<AgentGroup>, 'get'>;
  readonly clock: { now(): number };
}

export interface Observed {
  readonly destination: Destination;
  /** Objects that it names and that do not exist, such as "Channel slack-main". */
  readonly missing: readonly string[];
  /** An older Destination of the same agent with the same local name. */
  readonly rival: string | undefined;
  readonly now: number;
}

export function observe(name: string, sight: Sight): Observed | undefined {
  const destination = sight.own.get(name);
  if (destination === undefined) return undefined;
  const { agentGroupRef, target } = destination.spec;
  const agents = [agentGroupRef, ...(target.agent === undefined ? [] : [target.agent.agentGroupRef])];
  const channels = target.channel === undefined ? [] : [target.channel.channelRef];
  return {
    destination,
    missing: [
      ...[...new Set(agents)].filter((ref) => sight.agentGroups.get(ref) === undefined).map((ref) => `AgentGroup ${ref}`),
      ...channels.filter((ref) => sight.channels.get(ref) === undefined).map((ref) => `Channel ${ref}`),
    ],
    rival: rivalOf(destination, sight.destinations.byIndex('agentGroup', agentGroupRef)),
    now: sight.clock.now(),
  };
}

function rivalOf(self: Destination, others: readonly Destination[]): string | undefined {
  return others.find(
    (other) =>
      other.metadata.uid !== self.metadata.uid &&
      other.spec.agentGroupRef === self.spec.agentGroupRef &&
      other.spec.localName === self.spec.localName &&
      isOlder(other, self),
  )?.metadata.name;
}

function isOlder({ metadata: a }: Destination, { metadata: b }: Destination): boolean {
  return a.creationTimestamp === b.creationTimestamp ? a.name < b.name : a.creationTimestamp < b.creationTimestamp;
}
