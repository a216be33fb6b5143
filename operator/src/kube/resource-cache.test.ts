import { describe, expect, test } from '@jest/globals';
import { silentLog } from '../lib/log.ts';
import { type Change, ResourceCache } from './resource-cache.ts';
import type { KubeObject } from './store.ts';

interface Thing extends KubeObject {
  readonly color: string;
}
const thing = (name: string, version: number, color = 'red', uid = `uid-${name}`): Thing => ({
  apiVersion: 'v1',
  kind: 'Thing',
  color,
  metadata: { name, namespace: 'test', uid, resourceVersion: String(version), creationTimestamp: '2026-01-01T00:00:00Z' },
});

function made() {
  const cache = new ResourceCache<Thing, 'color'>({ log: silentLog, clock: { now: () => 1_000 }, indexes: { color: (t) => [t.color] } });
  const told: string[] = [];
  cache.onChange(({ type, object, previous }: Change<Thing>) => {
    told.push(`${type} ${object.metadata.name}${previous === undefined ? '' : ` was ${previous.metadata.resourceVersion}`}`);
  });
  return { cache, told };
}

describe('a resource cache', () => {
  test('tells the differences between two lists', () => {
    const { cache, told } = made();
    cache.replace({ items: [thing('a', 1), thing('b', 2), thing('c', 3)], invalid: [] });
    cache.replace({ items: [thing('b', 2), thing('c', 4), thing('d', 5)], invalid: [] });
    expect(told).toEqual(['ADDED a', 'ADDED b', 'ADDED c', 'DELETED a was 1', 'MODIFIED c was 3', 'ADDED d']);
  });

  test('the same name with another uid is a deletion and an addition, in a list and in a watch', () => {
    const { cache, told } = made();
    cache.replace({ items: [thing('a', 1)], invalid: [] });
    cache.replace({ items: [thing('a', 5, 'red', 'new')], invalid: [] });
    cache.apply({ type: 'MODIFIED', object: thing('a', 9, 'blue', 'newer') });
    expect(told).toEqual(['ADDED a', 'DELETED a was 1', 'ADDED a', 'DELETED a was 5', 'ADDED a']);
    expect(cache.byIndex('color', 'red')).toEqual([]);
  });

  test('an object that became unreadable keeps its last readable version, unless it is another object', () => {
    const { cache, told } = made();
    const unreadable = { name: 'a', uid: 'uid-a', resourceVersion: '7', error: new Error('bad') };
    cache.replace({ items: [thing('a', 1)], invalid: [] });
    cache.replace({ items: [], invalid: [unreadable] });
    expect([cache.get('a')?.metadata.resourceVersion, cache.invalid().length]).toEqual(['1', 1]);
    cache.replace({ items: [], invalid: [{ ...unreadable, uid: 'new', resourceVersion: '9' }] });
    expect([cache.get('a'), cache.invalid().length]).toEqual([undefined, 1]);
    cache.replace({ items: [thing('a', 12, 'red', 'new')], invalid: [] });
    expect(cache.invalid()).toEqual([]);
    expect(told).toEqual(['ADDED a', 'DELETED a was 1', 'ADDED a']);
  });

  test('finds by index through changes and deletions', () => {
    const { cache } = made();
    cache.replace({ items: [thing('a', 1), thing('b', 2, 'blue')], invalid: [] });
    cache.apply({ type: 'MODIFIED', object: thing('a', 3, 'blue') });
    expect(
      cache
        .byIndex('color', 'blue')
        .map((t) => t.metadata.name)
        .sort(),
    ).toEqual(['a', 'b']);
    expect(cache.byIndex('color', 'red')).toEqual([]);
    cache.apply({ type: 'DELETED', object: thing('b', 4, 'blue') });
    expect(cache.byIndex('color', 'blue').map((t) => t.metadata.name)).toEqual(['a']);
  });

  test("one listener's failure does not keep the change from the next", () => {
    const { cache, told } = made();
    cache.onChange(() => {
      throw new Error('a bug');
    });
    const later: string[] = [];
    const off = cache.onChange(({ object }) => later.push(object.metadata.name));
    cache.apply({ type: 'ADDED', object: thing('a', 1) });
    off();
    cache.apply({ type: 'ADDED', object: thing('b', 2) });
    expect({ told, later }).toEqual({ told: ['ADDED a', 'ADDED b'], later: ['a'] });
  });
});
