/** From stored JSON to typed objects: where an object that cannot be read is kept from becoming someone else's problem. */
import { toError } from '../lib/errors.ts';
import { UnreadableError } from './errors.ts';
import { isJsonObject, type JsonObject, objectAt } from './json.ts';
import type { InvalidObject, KubeObject, ResourceList, ResourceType } from './store.ts';

export type Read<T> = { readonly ok: true; readonly object: T } | { readonly ok: false; readonly error: Error };

export function tryRead<T extends KubeObject>(type: ResourceType<T>, raw: unknown): Read<T> {
  try {
    return { ok: true, object: type.parse(raw) };
  } catch (thrown) {
    return { ok: false, error: toError(thrown) };
  }
}

/** Throws UnreadableError. */
export function readObject<T extends KubeObject>(type: ResourceType<T>, raw: unknown): T {
  const read = tryRead(type, raw);
  if (read.ok) return read.object;
  throw new UnreadableError(read.error.message, { cause: read.error });
}

export function readObjects<T extends KubeObject>(
  type: ResourceType<T>,
  raws: Iterable<JsonObject>,
): Pick<ResourceList<T>, 'items' | 'invalid'> {
  const items: T[] = [];
  const invalid: InvalidObject[] = [];
  for (const raw of raws) {
    const read = tryRead(type, raw);
    if (read.ok) items.push(read.object);
    else invalid.push(invalidObject(raw, read.error));
  }
  return { items, invalid };
}

export function invalidObject(raw: unknown, error: Error): InvalidObject {
  const metadata = isJsonObject(raw) ? objectAt(raw, 'metadata') : {};
  const text = (field: string): string => (typeof metadata[field] === 'string' ? metadata[field] : '');
  return { name: text('name'), uid: text('uid'), resourceVersion: text('resourceVersion'), error };
}
