import type { AgentGroup, Channel, MessagingGroup } from '@dovecote/crds';
import type { ResourceCache } from '../../kube/resource-cache.ts';
import type { OwnWrites } from '../own-writes.ts';

/** The indexes of MessagingGroups by what they name. */
export const MESSAGING_GROUP_INDEXES = {
  channel: ({ spec }: MessagingGroup) => [spec.channelRef],
  agentGroup: ({ spec }: MessagingGroup) => [...new Set(spec.agents.map(({ agentGroupRef }) => agentGroupRef))],
} as const;

export interface Sight {
  readonly own: OwnWrites<MessagingGroup>;
  readonly messagingGroups: Pick<ResourceCache<MessagingGroup, keyof typeof MESSAGING_GROUP_INDEXES>, 'byIndex'>;
  readonly channels: Pick<ResourceCache<Channel>, 'get'>;
  readonly agentGroups: Pick<ResourceCache<AgentGroup>, 'get'>;
  readonly clock: { now(): number };
}

export interface Observed {
  readonly messagingGroup: MessagingGroup;
  /** Objects that it names and that do not exist, such as "Channel slack-main". */
  readonly missing: readonly string[];
  /** The agents that exist. */
  readonly wired: number;
  /** An older MessagingGroup for exactly the same chat or class of chats. */
  readonly rival: string | undefined;
  readonly now: number;
}

export function observe(name: string, sight: Sight): Observed | undefined {
  const messagingGroup = sight.own.get(name);
  if (messagingGroup === undefined) return undefined;
  const { channelRef, agents } = messagingGroup.spec;
  const absent = agents.map(({ agentGroupRef }) => agentGroupRef).filter((ref) => sight.agentGroups.get(ref) === undefined);
  return {
    messagingGroup,
    missing: [
      ...(sight.channels.get(channelRef) === undefined ? [`Channel ${channelRef}`] : []),
      ...absent.map((ref) => `AgentGroup ${ref}`),
    ],
    wired: agents.length - absent.length,
    rival: rivalOf(messagingGroup, sight.messagingGroups.byIndex('channel', channelRef)),
    now: sight.clock.now(),
  };
}

function rivalOf(self: MessagingGroup, others: readonly MessagingGroup[]): string | undefined {
  return others.find(
    (other) =>
      other.metadata.uid !== self.metadata.uid &&
      other.spec.chatId === self.spec.chatId &&
      other.spec.chatClass === self.spec.chatClass &&
      isOlder(other, self),
  )?.metadata.name;
}

function isOlder({ metadata: a }: MessagingGroup, { metadata: b }: MessagingGroup): boolean {
  return a.creationTimestamp === b.creationTimestamp ? a.name < b.name : a.creationTimestamp < b.creationTimestamp;
}
