import type { KubeMetrics } from '../kube/metrics.ts';
import { Reflector } from '../kube/reflector.ts';
import { ResourceCache } from '../kube/resource-cache.ts';
import type { KubeObject, ResourceStore, ResourceType } from '../kube/store.ts';
import type { TaskGroup } from '../lib/task-group.ts';
import type { Foundation } from './foundation.ts';

/** A cache of one kind that a task of `group` keeps full. */
export function watched<T extends KubeObject>(
  type: ResourceType<T>,
  deps: Foundation & { readonly store: ResourceStore; readonly group: TaskGroup; readonly kubeMetrics: KubeMetrics },
): ResourceCache<T> {
  const { store, clock, random, log } = deps;
  const cache = new ResourceCache<T>({ log, clock });
  deps.group.run(`watch/${type.plural}`, (signal) =>
    new Reflector({ store, type, cache, clock, random, log, metrics: deps.kubeMetrics }).run(signal),
  );
  return cache;
}
