/**
 * Fields of an object as paths, for ownership and merging in server-side apply. A path is its steps joined by NUL, each step
 * as the API server writes it in managedFields: `f:name` a field, `k:{"name":"x"}` an item of a keyed list, `v:"x"` one of a set.
 */
import { InvalidError } from '../errors.ts';
import { isJsonObject, type Json, type JsonObject, type MutableJsonObject } from '../json.ts';
import type { Shape } from './shape.ts';

const SEPARATOR = '\u0000';
export const ROOT = '';

const step = (path: string, next: string): string => (path === ROOT ? next : `${path}${SEPARATOR}${next}`);
export const fieldPath = (...fields: readonly string[]): string => fields.map((field) => `f:${field}`).join(SEPARATOR);

/** Whether `path` is `ancestor` or lies inside it. */
export function isWithin(path: string, ancestor: string): boolean {
  return path === ancestor || path.startsWith(`${ancestor}${SEPARATOR}`);
}

/** Whether `path` names an item of a list, not a field. */
export function isItem(path: string): boolean {
  return !path.startsWith('f:', path.lastIndexOf(SEPARATOR) + 1);
}

/** As a person writes it: `.spec.agents[agentGroupRef="triage"]`. */
export function showPath(path: string): string {
  return path
    .split(SEPARATOR)
    .map((s) => (s.startsWith('f:') ? `.${s.slice(2)}` : `[${s.slice(2)}]`))
    .join('');
}

function keyOf(item: JsonObject, shape: Extract<Shape, { is: 'listMap' }>): string {
  return `k:${JSON.stringify(Object.fromEntries(shape.keys.map((key) => [key, item[key] ?? shape.defaults[key]])))}`;
}

function keyedItems(list: Json | undefined, shape: Extract<Shape, { is: 'listMap' }>): Map<string, JsonObject> {
  return new Map((Array.isArray(list) ? list : []).filter(isJsonObject).map((item) => [keyOf(item, shape), item]));
}

const valueStep = (value: Json): string => `v:${JSON.stringify(value)}`;

type Form = 'object' | 'listMap' | 'set' | 'leaf';
function formOf(value: Json, shape: Shape): Form {
  if (shape.is === 'object') return isJsonObject(value) && Object.keys(value).length > 0 ? 'object' : 'leaf';
  if (shape.is === 'atomic' || !Array.isArray(value) || value.length === 0) return 'leaf';
  return shape.is === 'set' ? 'set' : value.every(isJsonObject) ? 'listMap' : 'leaf';
}

/** Every leaf with its value. An item of a keyed list is itself one (its presence can be owned), and so is an empty map. */
export function leaves(value: Json, shape: Shape, path = ROOT, found = new Map<string, Json>()): Map<string, Json> {
  const form = formOf(value, shape);
  if (form === 'object' && shape.is === 'object') {
    for (const [field, inner] of Object.entries(value as JsonObject)) leaves(inner, shape.at(field), step(path, `f:${field}`), found);
  } else if (form === 'listMap' && shape.is === 'listMap') {
    for (const item of value as readonly JsonObject[]) {
      const at = step(path, keyOf(item, shape));
      if (found.has(at)) throw new InvalidError(`${showPath(path)}: duplicate entries for key [${at.slice(at.lastIndexOf('k:') + 2)}]`);
      found.set(at, null);
      leaves(item, shape.items, at, found);
    }
  } else if (form === 'set') {
    for (const item of value as readonly Json[]) found.set(step(path, valueStep(item)), null);
  } else if (path !== ROOT && !(Array.isArray(value) && value.length === 0 && shape.is !== 'atomic' && shape.is !== 'object')) {
    // An empty list of items that are owned one by one has nothing to own: once written, it stays.
    found.set(path, value);
  }
  return found;
}

/** The order of a merged list: as applied, with what only others have where it stood. The server's own way, step by step. */
function interleave(live: readonly string[], applied: readonly string[]): string[] {
  const [had, wants] = [new Set(live), new Set(applied)];
  const shared = applied.filter((key) => had.has(key));
  const order: string[] = [];
  let [l, r, s] = [0, 0, 0];
  while (l < live.length || r < applied.length) {
    const [left, right] = [live[l], applied[r]];
    if (left !== undefined && left === right) {
      order.push(left);
      l += 1;
      r += 1;
      s += 1;
    } else if (left !== undefined && right !== undefined && wants.has(left) && shared[s] !== undefined && shared[s] !== left) {
      l += 1; // shared, but its turn comes with the applied ones
    } else if (left !== undefined && !wants.has(left)) {
      order.push(left);
      l += 1;
    } else if (right !== undefined) {
      order.push(right);
      r += 1;
      if (shared[s] === right) s += 1;
    } else {
      l += 1; // already taken
    }
  }
  return order;
}

/** What is written over what is there: only what `applied` names changes. */
export function merge(live: Json | undefined, applied: Json, shape: Shape): Json {
  if (live === undefined) return applied;
  if (shape.is === 'object' && isJsonObject(live) && isJsonObject(applied)) {
    const merged: MutableJsonObject = { ...live };
    for (const [field, value] of Object.entries(applied)) merged[field] = merge(live[field], value, shape.at(field));
    return merged;
  }
  if (!Array.isArray(live) || !Array.isArray(applied)) return applied;
  if (shape.is === 'set') {
    const [before, wanted] = [live, applied].map((list) => new Map(list.map((item: Json) => [valueStep(item), item])));
    return interleave([...(before?.keys() ?? [])], [...(wanted?.keys() ?? [])]).map((key) => before?.get(key) ?? wanted?.get(key) ?? null);
  }
  if (shape.is === 'listMap') {
    const [before, wanted] = [keyedItems(live, shape), keyedItems(applied, shape)];
    return interleave([...before.keys()], [...wanted.keys()]).map((key) => {
      const [old, next] = [before.get(key), wanted.get(key)];
      return next === undefined ? (old ?? null) : merge(old, next, shape.items);
    });
  }
  return applied;
}

/** Without the fields at `paths`. What becomes empty by it goes too. undefined when nothing is left. */
export function remove(value: Json, shape: Shape, paths: ReadonlySet<string>, path = ROOT): Json | undefined {
  if (path !== ROOT && paths.has(path)) return undefined;
  if (shape.is === 'object' && isJsonObject(value)) {
    const left: MutableJsonObject = {};
    for (const [field, inner] of Object.entries(value)) {
      const kept = remove(inner, shape.at(field), paths, step(path, `f:${field}`));
      if (kept !== undefined) left[field] = kept;
    }
    return Object.keys(left).length === 0 && Object.keys(value).length > 0 ? undefined : left;
  }
  if (!Array.isArray(value) || value.length === 0 || (shape.is !== 'set' && shape.is !== 'listMap')) return value;
  const left = value.flatMap((item: Json): readonly Json[] => {
    if (shape.is === 'set') return paths.has(step(path, valueStep(item))) ? [] : [item];
    if (!isJsonObject(item)) return [item];
    const kept = remove(item, shape.items, paths, step(path, keyOf(item, shape)));
    return kept === undefined ? [] : [kept];
  });
  return left.length === 0 ? undefined : left;
}
