import { type AgentGroup, Reason, type Session } from '@dovecote/crds';
import type { ResourceCache } from '../../kube/resource-cache.ts';
import type { ResourceStore } from '../../kube/store.ts';
import { type Credentials, checkCredentials } from '../credentials.ts';
import type { OwnWrites } from '../own-writes.ts';
import { type FoundSkills, findSkills } from './skills.ts';

/** The index of Sessions by the name of their AgentGroup. */
export const BY_AGENT_GROUP = 'agentGroup';

export interface Sight {
  readonly store: ResourceStore;
  readonly agentGroups: Pick<ResourceCache<AgentGroup>, 'list'>;
  readonly own: OwnWrites<AgentGroup>;
  readonly sessions: Pick<ResourceCache<Session, typeof BY_AGENT_GROUP>, 'byIndex'>;
  readonly shards: readonly string[];
  readonly clock: { now(): number };
}

export interface Observed {
  readonly agentGroup: AgentGroup;
  /** undefined: its provider needs none. */
  readonly credentials: Credentials | undefined;
  /** undefined: none of its MCP servers needs any. */
  readonly mcpCredentials: Credentials | undefined;
  /** undefined: it has none. */
  readonly skills: FoundSkills | undefined;
  readonly sessions: readonly Session[];
  readonly availableShards: readonly string[];
  /** How many other agents each shard has. */
  readonly load: ReadonlyMap<string, number>;
  readonly now: number;
}

export async function observe(name: string, sight: Sight, signal: AbortSignal): Promise<Observed | undefined> {
  const agentGroup = sight.own.get(name);
  if (agentGroup === undefined) return undefined;
  const { uid } = agentGroup.metadata;
  const load = new Map<string, number>();
  for (const other of sight.agentGroups.list()) {
    if (other.metadata.uid === uid) continue;
    for (const shard of other.status?.shards ?? []) load.set(shard, (load.get(shard) ?? 0) + 1);
  }
  return {
    agentGroup,
    credentials: await credentialsOf(agentGroup, sight.store, signal),
    mcpCredentials: await mcpCredentialsOf(agentGroup, sight.store, signal),
    skills: await findSkills(agentGroup, sight.store, signal),
    // One made anew under the same name does not count the sessions of the one before it.
    sessions: sight.sessions.byIndex(BY_AGENT_GROUP, name).filter((session) => session.spec.agentGroupUid === uid),
    availableShards: sight.shards,
    load,
    now: sight.clock.now(),
  };
}

async function credentialsOf({ spec }: AgentGroup, store: ResourceStore, signal: AbortSignal): Promise<Credentials | undefined> {
  const ref = spec.provider.anthropic?.credentialsRef;
  return ref === undefined ? undefined : checkCredentials(store, { secret: ref.name, keys: [ref.key] }, signal);
}

/** Of all servers together: the first that lacks something decides, and every one that does is named. */
async function mcpCredentialsOf({ spec }: AgentGroup, store: ResourceStore, signal: AbortSignal): Promise<Credentials | undefined> {
  const needing = (spec.mcpServers ?? []).filter(({ http }) => (http?.headers ?? []).length > 0);
  if (needing.length === 0) return undefined;
  const lacking: Credentials[] = [];
  for (const { name, http } of needing) {
    for (const { secretRef } of http?.headers ?? []) {
      const found = await checkCredentials(store, { secret: secretRef.name, keys: [secretRef.key] }, signal);
      if (found.status !== 'True') lacking.push({ ...found, message: `MCP server ${name} is refused: ${found.message}` });
    }
  }
  const [first] = lacking;
  if (first === undefined) return { status: 'True', reason: Reason.Found, message: 'The Secrets of its MCP servers have their keys.' };
  return {
    ...first,
    message: lacking
      .map(({ message }) => message)
      .join(' ')
      .slice(0, 4_000),
  };
}
