/** From (agent, scope) to the session that its messages go to, made when there is none. */
import type { AgentGroup, Session } from '@dovecote/crds';
import type { Clock } from '../../lib/clock.ts';
import { StatusError, status } from '../../lib/grpc.ts';
import { sessionName } from '../../lib/session-name.ts';
import type { Cells } from '../cells/cells.ts';
import type { CellRows, NewCell } from '../cells/create.ts';
import type { ShardIndex } from '../shard/index-db.ts';
import { checkText } from './new-message.ts';

export interface ResolveDeps {
  readonly shard: string;
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
  /** Past the cache. */
  readonly fetchAgent: (name: string) => Promise<AgentGroup | undefined>;
  readonly sessions: { get(name: string): Session | undefined };
  readonly clock: Clock;
  /** What a new cell begins with: its projections. */
  readonly fill: (cell: CellRows, agent: AgentGroup) => void;
}

/** Where a message goes. `begin`: the session has no cell yet; the first message is written into it as it is made. */
export interface Place {
  readonly session: string;
  readonly begin?: { readonly cell: NewCell; readonly agent: AgentGroup };
}

/**
 * The gateway may know of an agent before our cache does: the API is asked before it is denied. Throws StatusError NOT_FOUND: no such
 * AgentGroup, or this shard is none of its; UNAVAILABLE: it has no shard yet.
 */
export async function agentOnShard({ agentGroups, fetchAgent, shard }: ResolveDeps, name: string): Promise<AgentGroup> {
  checkText('agent_group', name, 1, 253);
  const cached = agentGroups.get(name);
  if (cached?.status?.shards?.includes(shard) === true) return cached;
  const agent = await fetchAgent(name);
  if (agent === undefined) throw new StatusError(status.NOT_FOUND, `agent_group ${JSON.stringify(name)} does not exist`);
  const shards = agent.status?.shards;
  if (shards === undefined) throw new StatusError(status.UNAVAILABLE, `AgentGroup ${name} has no shard yet`);
  if (!shards.includes(shard))
    throw new StatusError(status.NOT_FOUND, `AgentGroup ${name} is on shard ${shards.join(', ')}, not on ${shard}`);
  return agent;
}

/** The scope's session; undefined when there is none yet. */
export function findSession({ index }: Pick<ResolveDeps, 'index'>, agent: AgentGroup, scope: string): string | undefined {
  return index.active(agent.metadata.uid, scope)?.session;
}

/** The scope's session. Throws StatusError FAILED_PRECONDITION when its cell is lost. */
export function resolveSession(deps: ResolveDeps, agent: AgentGroup, scope: string): Place {
  const { cells, clock } = deps;
  const found = findSession(deps, agent, scope);
  const session = found ?? sessionName(agent.metadata.name, agent.metadata.uid, scope, 1);
  if (found !== undefined && cells.has(session)) return { session };
  // A Session whose cell is gone has lost its conversation: to begin it anew in silence would hide that. Whoever deletes it has seen it.
  if (deps.sessions.get(session) !== undefined) {
    throw new StatusError(
      status.FAILED_PRECONDITION,
      `the cell of session ${session} is gone from the volume of shard ${deps.shard}; restore it, or delete the Session to begin anew`,
    );
  }
  const cell = {
    session,
    agent_group: agent.metadata.name,
    agent_group_uid: agent.metadata.uid,
    scope,
    generation: 1,
    type: 'Chat',
    created_at: clock.now(),
  };
  return { session, begin: { cell, agent } };
}
