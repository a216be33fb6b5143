import type { AgentGroup, Destination } from '@dovecote/crds';
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
    const { cells, agentGroups, destinations, log } = this.#deps;
    const cell = cells.open(session);
    const agent = agentGroups.get(cell.meta.agent_group);
    if (agent === undefined || agent.metadata.uid !== cell.meta.agent_group_uid) return false;
    const changed = writeProjection(cell, buildProjection(agent, destinations.byIndex('agentGroup', agent.metadata.name), cell.meta.scope));
    if (changed) log.debug({ session }, 'projection was rewritten');
    return changed;
  }
}
