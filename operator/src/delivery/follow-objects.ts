/** What changes in the cluster, passed on: to runners that are awake, to budgets, to what waits for a Pod to be gone. */

import type { AttachHub } from './attach/hub.ts';
import type { Background } from './background.ts';
import type { Cells } from './cells/cells.ts';
import type { Projector } from './projection/projector.ts';
import type { Resources } from './resources.ts';
import type { ShardIndex } from './shard/index-db.ts';
import type { StorageReports } from './shard/storage-reports.ts';
import type { Sweep } from './sweep/sweep.ts';
import type { Usage } from './usage/usage.ts';
import type { Wake } from './wake/wake.ts';

export interface FollowDeps {
  readonly resources: Resources;
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly projector: Projector;
  readonly hub: Pick<AttachHub, 'projectionChanged'>;
  readonly wake: Pick<Wake, 'awake' | 'onSession'>;
  readonly storage: Pick<StorageReports, 'forget'>;
  readonly sweep: Pick<Sweep, 'isAsleep'>;
  readonly usage: Pick<Usage, 'onAgentGroup' | 'onSession'>;
  readonly background: Background;
  /** Takes what is new in the runner's file. */
  readonly read: (session: string) => Promise<void>;
}

/** Before the caches are filled, so that the first object is heard of too. */
export function followObjects(deps: FollowDeps): void {
  const { resources, cells, index, projector, hub, wake, storage, sweep, usage, background, read } = deps;
  const reproject = (agent: string): void => {
    for (const session of wake.awake()) {
      if (index.get(session)?.agent_group === agent && projector.project(session)) hub.projectionChanged(session);
    }
  };
  resources.agentGroups.onChange(({ type, object }) => {
    reproject(object.metadata.name);
    if (type !== 'DELETED') usage.onAgentGroup(object);
  });
  resources.destinations.onChange(({ object }) => reproject(object.spec.agentGroupRef));
  resources.sessions.onChange(({ type, object }) => {
    const { name } = object.metadata;
    storage.forget(name);
    if (type !== 'DELETED') usage.onSession(object);
    wake.onSession(name, type === 'DELETED' ? undefined : object);
    // Its Pod is gone: what it left half-written is rolled back, what it wrote last is read.
    if (type === 'MODIFIED' && sweep.isAsleep(name) && cells.has(name)) {
      background.run('final-read', name, async () => {
        cells.recover(name);
        await read(name);
      });
    }
  });
}
