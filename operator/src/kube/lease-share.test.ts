import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { silentLog } from '../lib/log.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { systemRandom } from '../lib/random.ts';
import { EmbeddedStore } from './embedded/embedded-store.ts';
import { MANY_LEASES_TIMES, runWhileLeader } from './lease.ts';
import { LeaseShare } from './lease-share.ts';
import { leases } from './resource-types.ts';
import type { ResourceStore } from './store.ts';

jest.setTimeout(60_000);

describe('many leases among replicas', () => {
  const names = Array.from({ length: 9 }, (_, n) => `channel-${n}`);
  let clock: ManualClock;
  let store: EmbeddedStore;
  /** who works on what right now */
  let working: Map<string, string[]>;
  let moves: number;
  const running: { stop: AbortController; done: Promise<unknown> }[] = [];

  beforeEach(() => {
    clock = new ManualClock();
    store = new EmbeddedStore({ path: ':memory:', namespace: 'test', clock, random: systemRandom, log: silentLog });
    working = new Map(names.map((name) => [name, []]));
    moves = 0;
  });
  afterEach(async () => {
    for (const { stop } of running) stop.abort(new Error('test over'));
    await clock.advance(60_000);
    await Promise.allSettled(running.splice(0).map(({ done }) => done));
    await store.close();
  });

  const replica = (identity: string, through: ResourceStore = store): AbortController => {
    const stop = new AbortController();
    const monotonicMs = (): number => clock.now();
    const share = new LeaseShare({ monotonicMs });
    const done = Promise.allSettled(
      names.map((name) =>
        runWhileLeader(
          {
            store: through,
            name,
            identity,
            fieldManager: 'test',
            times: MANY_LEASES_TIMES,
            share,
            clock,
            monotonicMs,
            random: { fraction: () => 0.5, id: () => 'x' },
            log: silentLog,
            signal: stop.signal,
          },
          async (signal) => {
            working.get(name)?.push(identity);
            moves += 1;
            expect(working.get(name)).toHaveLength(1); // never two at once
            await clock.sleep(1e9, signal).catch(() => {});
            await clock.sleep(2_000, new AbortController().signal); // a connection ends in its own time
            working.set(name, working.get(name)?.filter((one) => one !== identity) ?? []);
          },
        ),
      ),
    );
    running.push({ stop, done });
    return stop;
  };
  const counts = (): Record<string, number> => {
    const found: Record<string, number> = {};
    for (const [who] of working.values()) if (who !== undefined) found[who] = (found[who] ?? 0) + 1;
    return found;
  };
  const minutes = async (n: number): Promise<void> => {
    for (let i = 0; i < n * 6; i += 1) await clock.advance(10_000);
  };

  test('that start together take as many each', async () => {
    replica('a');
    replica('b');
    replica('c');
    await minutes(1);
    expect(counts()).toEqual({ a: 3, b: 3, c: 3 });
  });

  test('one that comes later gets its part, one Lease after the other, and then nothing moves any more', async () => {
    replica('a');
    await minutes(1);
    expect(counts()).toEqual({ a: 9 });
    replica('b');
    await clock.advance(25_000);
    expect(counts()).toEqual({ a: 8, b: 1 }); // slowly: each costs its Channel a moment
    await minutes(4);
    expect([counts()['a'], counts()['b']].toSorted()).toEqual([4, 5]);
    const settled = moves;
    replica('c');
    await minutes(6);
    expect(counts()).toEqual({ a: 3, b: 3, c: 3 });
    expect(moves - settled).toBeLessThanOrEqual(4); // three for the newcomer; one, when the first gave more than the second has left
    const level = moves;
    await minutes(10);
    expect(moves).toBe(level);
    const asked = await Promise.all(
      names.map(async (name) => (await store.get(leases, name))?.metadata.annotations?.['dovecote.dev/asked-by']),
    );
    expect(asked).toEqual(names.map(() => undefined));
  });

  test('those of one that ends go to the others by their parts', async () => {
    const stop = replica('a');
    replica('b');
    replica('c');
    await minutes(1);
    stop.abort(new Error('shut down'));
    await minutes(2);
    expect([counts()['b'], counts()['c']].toSorted()).toEqual([4, 5]);
  });

  test('one that dies is not kept alive by those who ask for its Leases', async () => {
    let dead = false;
    const through = new Proxy<ResourceStore>(store, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => (dead ? Promise.reject(new Error('network')) : Reflect.apply(value, target, args));
      },
    });
    replica('a', through);
    await minutes(1);
    dead = true;
    replica('b');
    replica('c');
    await minutes(2);
    expect([counts()['b'], counts()['c']].toSorted()).toEqual([4, 5]);
  });
});
