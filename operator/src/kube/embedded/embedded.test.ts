import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { systemClock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import { systemRandom } from '../../lib/random.ts';
import { resourceStoreContract } from '../contract.test-suite.ts';
import { agentGroups, configMaps, events } from '../resource-types.ts';
import { type EmbeddedOptions, EmbeddedStore } from './embedded-store.ts';

const open = (path: string, options: Partial<EmbeddedOptions> = {}): EmbeddedStore =>
  new EmbeddedStore({ path, namespace: 'test', clock: systemClock, random: systemRandom, log: silentLog, ...options });

async function withFile(body: (path: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'embedded-'));
  try {
    await body(join(directory, 'cluster.db'));
  } finally {
    await rm(directory, { recursive: true });
  }
}

resourceStoreContract('embedded store', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'embedded-'));
  const store = open(join(directory, 'cluster.db'), { historyLength: 20 });
  return {
    store,
    dispose: async () => {
      await store.close();
      await rm(directory, { recursive: true });
    },
    forgottenVersion: async () => {
      const { resourceVersion } = await store.list(configMaps);
      for (let i = 0; i < 40; i += 1)
        await store.apply(configMaps, { metadata: { name: 'm' }, data: { i: String(i) } }, { fieldManager: 'test' });
      return resourceVersion;
    },
  };
});

describe('the embedded store', () => {
  const agent = { metadata: { name: 'a' }, spec: { provider: { type: 'demo' as const } } };
  const by = { fieldManager: 'test' };

  test('keeps objects, versions and history over a restart: a watch goes on where it was', () =>
    withFile(async (path) => {
      const first = open(path);
      const made = await first.create(agentGroups, agent, by);
      await first.patch(agentGroups, 'a', { spec: { effort: 'low' } }, by);
      await first.close();
      const second = open(path);
      expect((await second.get(agentGroups, 'a'))?.spec.effort).toBe('low');
      const stop = new AbortController();
      for await (const event of second.watch(agentGroups, { resourceVersion: made.metadata.resourceVersion, signal: stop.signal })) {
        expect(event).toMatchObject({ type: 'MODIFIED', object: { spec: { effort: 'low' } } });
        break;
      }
      await second.close();
    }));

  test('a second process is told why it cannot open the file', () =>
    withFile(async (path) => {
      const first = open(path);
      expect(() => open(path)).toThrow(`cannot open ${path}: another dovecote process uses it`);
      await first.close();
      await open(path).close();
    }));

  test('dependants of an owner that went in the last run go at the start of this one', () =>
    withFile(async (path) => {
      const first = open(path);
      const { apiVersion, kind, metadata } = await first.create(agentGroups, agent, by);
      const ownerReferences = [{ apiVersion, kind, name: metadata.name, uid: metadata.uid }];
      await first.create(configMaps, { metadata: { name: 'child', ownerReferences } }, by);
      const deleting = first.delete(agentGroups, 'a');
      await first.close(); // before the collector's turn
      await deleting;
      const second = open(path);
      for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve));
      expect(await second.get(configMaps, 'child')).toBeUndefined();
      await second.close();
    }));

  test('sends bookmarks to a watch that has nothing to tell', () =>
    withFile(async (path) => {
      const store = open(path, { bookmarkMs: 20 });
      const { resourceVersion } = await store.list(agentGroups);
      await store.create(configMaps, { metadata: { name: 'm' } }, by);
      for await (const event of store.watch(agentGroups, { resourceVersion, signal: new AbortController().signal })) {
        expect(event.type).toBe('BOOKMARK');
        expect(event.type === 'BOOKMARK' ? Number(event.resourceVersion) : 0).toBeGreaterThan(Number(resourceVersion));
        break;
      }
      await store.close();
    }));

  test('forgets Events after an hour', () =>
    withFile(async (path) => {
      let now = Date.parse('2026-01-01T00:00:00Z');
      const store = open(path, { clock: { now: () => now, sleep: systemClock.sleep } });
      const names = async () => (await store.list(events)).items.map((e) => e.metadata.name);
      await store.create(events, { metadata: { name: 'e1' } }, by);
      now += 50 * 60_000;
      await store.create(events, { metadata: { name: 'e2' } }, by);
      expect(await names()).toEqual(['e1', 'e2']);
      now += 20 * 60_000;
      await store.create(events, { metadata: { name: 'e3' } }, by);
      expect(await names()).toEqual(['e2', 'e3']);
      await store.close();
    }));

  test('closing ends open watches', () =>
    withFile(async (path) => {
      const store = open(path);
      const { resourceVersion } = await store.list(agentGroups);
      const watching = (async () => {
        for await (const _ of store.watch(agentGroups, { resourceVersion, signal: new AbortController().signal }))
          throw new Error('no event was expected');
      })();
      await new Promise((resolve) => setImmediate(resolve));
      await store.close();
      await watching;
      await expect(store.get(agentGroups, 'a')).rejects.toThrow('the store is closed');
    }));
});
