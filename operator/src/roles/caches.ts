import { type FillDeps, keepFilled } from '../kube/keep-filled.ts';
import { ResourceCache } from '../kube/resource-cache.ts';
import type { KubeObject, ResourceType } from '../kube/store.ts';
import type { TaskGroup } from '../lib/task-group.ts';

/** A cache of one kind that a task of `group` keeps full. */
export function watched<T extends KubeObject>(type: ResourceType<T>, deps: FillDeps & { readonly group: TaskGroup }): ResourceCache<T> {
  const { clock, log, group } = deps;
  const cache = new ResourceCache<T>({ log, clock });
  keepFilled(type, cache, deps, group);
  return cache;
}
