import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { silentLog } from '../lib/log.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { systemRandom } from '../lib/random.ts';
import { EmbeddedStore } from './embedded/embedded-store.ts';
import { LeaseLostError, type LeaseOptions, runWhileLeader } from './lease.ts';
import { leases } from './resource-types.ts';
import type { ResourceStore } from './store.ts';

describe('a lease', () => {
  let clock: ManualClock;
  let store: EmbeddedStore;
  let log: string[];
  const ended: Promise<void>[] = [];
  const stops: AbortController[] = [];

  beforeEach(() => {
    clock = new ManualClock();
    store = new EmbeddedStore({ path: ':memory:', namespace: 'test', clock, random: systemRandom, log: silentLog });
    log = [];
  });
  afterEach(async () => {
    for (const stop of stops.splice(0)) stop.abort(new Error('test over'));
    await clock.advance(60_000);
    await Promise.allSettled(ended.splice(0));
    await store.close();
  });

  const holder = async (): Promise<string> => (await store.get(leases, 'l'))?.spec?.holderIdentity ?? '';

  /** A candidate whose work lasts until it is aborted, and `drainMs` more. `skewMs`: its clocks show another time than ours. */
  const candidate = (identity: string, options: { drainMs?: number; through?: ResourceStore; skewMs?: number } = {}): AbortController => {
    const stop = new AbortController();
    stops.push(stop);
    const leaseOptions: LeaseOptions = {
      store: options.through ?? store,
      name: 'l',
      identity,
      fieldManager: 'test',
      clock: { now: () => clock.now() + (options.skewMs ?? 0), sleep: (ms, signal) => clock.sleep(ms, signal) },
      monotonicMs: () => clock.now() * 1 + (options.skewMs ?? 0) * 7,
      random: { fraction: () => 0.5, id: () => 'x' },
      log: silentLog,
      signal: stop.signal,
    };
    const run = runWhileLeader(leaseOptions, async (signal) => {
      log.push(`${identity} starts`);
      await clock.sleep(100_000_000, signal).catch(() => {});
      if (signal.reason instanceof LeaseLostError) log.push(`${identity} lost it`);
      await clock.sleep(options.drainMs ?? 0, new AbortController().signal);
      log.push(`${identity} ended`);
    });
    ended.push(run);
    return stop;
  };
  /** A store that can be cut off, as a network can. */
  const cut = (): { through: ResourceStore; fail: () => void } => {
    let failing = false;
    const through = new Proxy<ResourceStore>(store, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => (failing ? Promise.reject(new Error('network')) : Reflect.apply(value, target, args));
      },
    });
    return {
      through,
      fail: () => {
        failing = true;
      },
    };
  };

  test('one of two works; the other only after the first has ended and let go', async () => {
    const a = candidate('a', { drainMs: 30_000 });
    await clock.advance(1_000);
    candidate('b');
    await clock.advance(60_000);
    expect(log).toEqual(['a starts']);
    a.abort(new Error('shut down'));
    await clock.advance(29_000);
    expect(log).toEqual(['a starts']);
    expect(await holder()).toBe('a');
    await clock.advance(5_000);
    expect(log).toEqual(['a starts', 'a ended', 'b starts']);
  });

  test('a holder that dies is followed after its lease ran out, not sooner, whatever its clock said', async () => {
    const net = cut();
    candidate('a', { through: net.through, skewMs: 3_600_000 });
    await clock.advance(5_000);
    candidate('b', { skewMs: -3_600_000 });
    await clock.advance(5_000);
    net.fail(); // as good as dead: nothing of it is heard any more
    await clock.advance(14_000);
    expect(log.filter((l) => l.startsWith('b'))).toEqual([]);
    await clock.advance(6_000);
    expect(log.at(-1)).toBe('b starts');
  });

  test('a holder that cannot renew stops before another starts, and competes again', async () => {
    const net = cut();
    candidate('a', { through: net.through, drainMs: 3_000 });
    await clock.advance(1_000);
    candidate('b');
    await clock.advance(1_000);
    net.fail();
    await clock.advance(60_000);
    expect(log).toEqual(['a starts', 'a lost it', 'a ended', 'b starts']);
  });

  test('a lease that was taken away ends the work at the next renewal', async () => {
    candidate('a');
    await clock.advance(1_000);
    await store.patch(leases, 'l', { spec: { holderIdentity: 'thief' } }, { fieldManager: 'test' });
    await clock.advance(2_500);
    expect(log).toEqual(['a starts', 'a lost it', 'a ended']);
    await clock.advance(60_000);
    expect(log.at(-1)).toBe('a starts');
  });

  test('a change of the lease by someone else, holder untouched, does not lose it', async () => {
    candidate('a');
    await clock.advance(1_000);
    await store.patch(leases, 'l', { metadata: { labels: { x: 'y' } } }, { fieldManager: 'test' });
    await clock.advance(60_000);
    expect(log).toEqual(['a starts']);
  });

  test('work that returns ends it and frees the lease; work that throws is heard of', async () => {
    const base = { store, name: 'l', fieldManager: 'test', clock, random: systemRandom, log: silentLog, monotonicMs: () => clock.now() };
    const signal = new AbortController().signal;
    await runWhileLeader({ ...base, identity: 'a', signal }, async () => {});
    expect(await holder()).toBe('');
    const failing = runWhileLeader({ ...base, identity: 'b', signal }, async () => {
      throw new Error('work failed');
    });
    await expect(failing).rejects.toThrow('work failed');
    expect(await holder()).toBe('');
  });

  test('aborted while waiting, it takes nothing', async () => {
    candidate('a');
    await clock.advance(1_000);
    const b = candidate('b');
    await clock.advance(1_000);
    b.abort(new Error('stop'));
    await clock.advance(0);
    await ended[1];
    expect(await holder()).toBe('a');
  });
});
