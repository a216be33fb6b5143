import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { TaskGroup } from '../lib/task-group.ts';
import type { KubeMetrics } from './metrics.ts';
import { Reflector } from './reflector.ts';
import type { ResourceCache } from './resource-cache.ts';
import type { KubeObject, ResourceStore, ResourceType, Selector } from './store.ts';

export interface FillDeps {
  readonly store: ResourceStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly kubeMetrics?: KubeMetrics | undefined;
}

/** A task of `tasks` keeps the cache in step with the cluster, for as long as the group lives. */
export function keepFilled<T extends KubeObject>(
  type: ResourceType<T>,
  cache: Pick<ResourceCache<T>, 'replace' | 'apply' | 'lastEventAgeMs'>,
  { store, clock, random, log, kubeMetrics }: FillDeps,
  tasks: TaskGroup,
  selector?: Selector,
): void {
  const reflector = new Reflector<T>({
    store,
    type,
    cache,
    clock,
    random,
    log,
    ...(selector !== undefined && { selector }),
    ...(kubeMetrics !== undefined && { metrics: kubeMetrics }),
  });
  tasks.run(`watch ${type.plural}`, (signal) => reflector.run(signal));
}
