/**
 * Who owns which field, as in metadata.managedFields: what a manager applied once and leaves out the next time is removed,
 * unless another owns it too. One manager has an entry for each way of writing, so what it created or patched, it does not
 * remove by applying without it: the same trap as with the real API server, kept on purpose.
 */
import { isJsonObject, type Json, type JsonObject, jsonEqual, type MutableJsonObject } from '../json.ts';
import { fieldPath, isItem, isWithin, leaves, merge, remove } from './fields.ts';
import type { Shape } from './shape.ts';

/** Entry, such as `delivery/Apply/` or `controller/Apply/status`, to the paths it owns. */
export type Managers = Readonly<Record<string, readonly string[]>>;

export interface Writer {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly subresource: '' | 'status';
}

const entryOf = ({ manager, operation, subresource }: Writer): string => `${manager}/${operation}/${subresource}`;

/** Identity and what the server itself writes belong to nobody. */
const UNOWNED = [
  'name',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
];

function ownable(body: JsonObject): JsonObject {
  const { apiVersion: _version, kind: _kind, ...rest } = body;
  const metadata = isJsonObject(rest['metadata']) ? { ...rest['metadata'] } : {};
  for (const field of UNOWNED) delete (metadata as MutableJsonObject)[field];
  return { ...rest, metadata };
}

const EMPTY_METADATA = fieldPath('metadata');

function ownedLeaves(body: JsonObject, shape: Shape): Map<string, Json> {
  const found = leaves(ownable(body), shape);
  found.delete(EMPTY_METADATA);
  return found;
}

/** The body after `writer` applied `applied` (its whole intent) to `live`, before admission, and what it owns from then on. */
export function applyFields(
  live: { readonly body: JsonObject; readonly managers: Managers },
  applied: JsonObject,
  writer: Writer,
  shape: Shape,
): { readonly body: JsonObject; readonly intent: readonly string[] } {
  const intent = [...ownedLeaves(applied, shape).keys()];
  const wanted = new Set(intent);
  const entry = entryOf(writer);
  const others = Object.entries(live.managers).flatMap(([other, paths]) => (other === entry ? [] : paths));
  const owned = new Set(others);
  const dropped = (live.managers[entry] ?? []).filter((path) => {
    if (wanted.has(path) || owned.has(path)) return false;
    // An item of a list stays only while someone owns it as such: to own one of its fields is not enough, as on the server.
    if (isItem(path)) return true;
    return !others.some((other) => isWithin(other, path)) && !intent.some((still) => isWithin(still, path));
  });
  const merged = merge(live.body, applied, shape);
  const body = dropped.length === 0 ? merged : remove(merged, shape, new Set(dropped));
  return { body: isJsonObject(body) ? body : {}, intent };
}

/**
 * Ownership after a write: what changed is the writer's alone, what went is nobody's. `intent` is what an apply named, changed
 * or not; an update owns only what it changed.
 */
export function ownAfter(
  before: { readonly body: JsonObject; readonly managers: Managers } | undefined,
  after: JsonObject,
  writer: Writer,
  shape: Shape,
  intent?: readonly string[],
): Managers {
  const old = before === undefined ? new Map<string, Json>() : ownedLeaves(before.body, shape);
  const now = ownedLeaves(after, shape);
  const changed = new Set([...now].flatMap(([path, value]) => (old.has(path) && jsonEqual(old.get(path), value) ? [] : [path])));
  const entry = entryOf(writer);
  const managers: Record<string, readonly string[]> = {};
  for (const [other, paths] of Object.entries(before?.managers ?? {})) {
    const kept = paths.filter((path) => now.has(path) && (other === entry || !changed.has(path)));
    if (kept.length > 0 && !(other === entry && intent !== undefined)) managers[other] = kept;
  }
  const own = intent ?? [...new Set([...(managers[entry] ?? []), ...changed])];
  if (own.length > 0) managers[entry] = [...own].sort();
  return managers;
}
