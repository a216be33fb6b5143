import type { AgentGroup, Destination } from '@dovecote/crds';
import type { Database } from 'better-sqlite3';
import type { Log } from '../../lib/log.ts';
import type { Cells } from '../cells/cells.ts';
import { buildProjection, writeProjection } from './project.ts';

export interface ProjectorDeps {
  readonly cells: Cells;
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
  readonly destinations: { byIndex(index: 'agentGroup', agent: string): readonly Destination[] };
  readonly log: Log;
}

export class Projector {
  readonly #deps: ProjectorDeps;

  constructor(deps: ProjectorDeps) {
    this.#deps = deps;
  }

  /** Writes what changed since the last time. True: something did. A session whose agent is gone keeps what it has. */
  project(session: string): boolean {
    const { cells, agentGroups, log } = this.#deps;
    const { meta, inbound } = cells.open(session);
    const agent = agentGroups.get(meta.agent_group);
    if (agent === undefined || agent.metadata.uid !== meta.agent_group_uid) return false;
    const changed = this.fill(inbound, agent, meta.scope);
    if (changed) log.debug({ session }, 'projection was rewritten');
    return changed;
  }

  /** The same for a file that has no session yet. */
  fill(inbound: Database, agent: AgentGroup, scope: string): boolean {
    return writeProjection(inbound, buildProjection(agent, this.#deps.destinations.byIndex('agentGroup', agent.metadata.name), scope));
  }
}
