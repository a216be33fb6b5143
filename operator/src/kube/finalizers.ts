/** A finalizer keeps an object until its cleanup is done. Add it before the first side effect that needs cleaning up. */
import type { Call, KubeObject, ResourceStore, ResourceType } from './store.ts';

type Writing = Call & { readonly fieldManager: string };

export function hasFinalizer(object: KubeObject, finalizer: string): boolean {
  return object.metadata.finalizers?.includes(finalizer) === true;
}

/**
 * The object with `finalizer`; as it is when it has it. undefined when it is gone. Throws ConflictError when it has changed
 * since it was read: the list is written as a whole, and another's finalizer must not be lost. InvalidError when it is being deleted.
 */
export async function addFinalizer<T extends KubeObject>(
  store: ResourceStore,
  type: ResourceType<T>,
  object: T,
  finalizer: string,
  options: Writing,
): Promise<T | undefined> {
  if (hasFinalizer(object, finalizer)) return object;
  return writeFinalizers(store, type, object, [...(object.metadata.finalizers ?? []), finalizer], options);
}

/** The object without `finalizer`; undefined when it is gone, be it by this. Throws ConflictError as above. */
export async function removeFinalizer<T extends KubeObject>(
  store: ResourceStore,
  type: ResourceType<T>,
  object: T,
  finalizer: string,
  options: Writing,
): Promise<T | undefined> {
  if (!hasFinalizer(object, finalizer)) return object;
  const left = (object.metadata.finalizers ?? []).filter((f) => f !== finalizer);
  return writeFinalizers(store, type, object, left, options);
}

function writeFinalizers<T extends KubeObject>(
  store: ResourceStore,
  type: ResourceType<T>,
  { metadata: { name, resourceVersion } }: T,
  finalizers: readonly string[],
  options: Writing,
): Promise<T | undefined> {
  return store.patch(type, name, { metadata: { resourceVersion, finalizers: finalizers.length === 0 ? null : finalizers } }, options);
}
