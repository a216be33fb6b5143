import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { TerminalError, WaitingError } from '../lib/errors.ts';
import { silentLog } from '../lib/log.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { type Reconcile, runController } from './controller.ts';
import { createKubeMetrics } from './metrics.ts';
import { WorkQueue } from './work-queue.ts';

const random = { fraction: () => 0.5, id: () => 'id' };

describe('a controller', () => {
  let clock: ManualClock;
  let stop: AbortController;
  let queue: WorkQueue;
  let registry: Registry;
  let running: Promise<void>;
  const start = (reconcile: Reconcile, options: { concurrency?: number; passMs?: number } = {}): void => {
    registry = new Registry();
    const metrics = createKubeMetrics(registry);
    queue = new WorkQueue({ name: 'test', clock, random, signal: stop.signal, backoff: { baseMs: 1_000, maxMs: 60_000 }, metrics });
    running = runController(
      { name: 'test', queue, reconcile, concurrency: 1, clock, random, log: silentLog, metrics, ...options },
      stop.signal,
    );
  };
  const results = async (): Promise<Record<string, number>> => {
    const metric = await registry.getSingleMetric('controller_runtime_reconcile_total')?.get();
    return Object.fromEntries((metric?.values ?? []).map((v) => [String(v.labels['result']), v.value]));
  };
  beforeEach(() => {
    clock = new ManualClock();
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort(new Error('test over'));
    await clock.advance(0);
    await running;
  });

  const rows: readonly [string, () => Promise<{ resyncMs: number } | undefined>, Record<string, number>, readonly number[]][] = [
    ['done', async () => undefined, { success: 1 }, [0]],
    ['done, look again later', async () => ({ resyncMs: 5_000 }), { requeue_after: 3 }, [0, 5_000, 10_000]],
    ['waiting', () => Promise.reject(new WaitingError('NotYet', 'not yet', 4_000)), { requeue_after: 3 }, [0, 4_000, 8_000]],
    ['terminal', () => Promise.reject(new TerminalError('Bad', 'bad')), { terminal_error: 1 }, [0]],
    ['failed', () => Promise.reject(new Error('oops')), { error: 4 }, [0, 750, 2_250, 5_250]],
  ];
  test.each(rows)('%s: the key comes back when it should, and is counted', async (_, outcome, counted, at) => {
    const begin = clock.now();
    const passes: number[] = [];
    start(async (): Promise<{ resyncMs?: number } | undefined> => {
      passes.push(clock.now() - begin);
      return outcome();
    });
    queue.add('a');
    await clock.advance(11_000);
    expect(passes).toEqual(at);
    expect(await results()).toEqual(counted);
  });

  test('after a success the next failure is the first again', async () => {
    const begin = clock.now();
    const passes: number[] = [];
    start(async (): Promise<{ resyncMs: number }> => {
      passes.push(clock.now() - begin);
      if (passes.length !== 3) throw new Error('oops');
      return { resyncMs: 1_000 };
    });
    queue.add('a');
    await clock.advance(4_500);
    expect(passes).toEqual([0, 750, 2_250, 3_250, 4_000]);
  });

  test('works on as many keys at once as it was told', async () => {
    let most = 0;
    let now = 0;
    start(
      async (_, signal): Promise<undefined> => {
        now += 1;
        most = Math.max(most, now);
        await clock.sleep(10, signal);
        now -= 1;
        return undefined;
      },
      { concurrency: 3 },
    );
    for (let i = 0; i < 10; i += 1) queue.add(`k${i}`);
    await clock.advance(100);
    expect({ most, counted: await results() }).toEqual({ most: 3, counted: { success: 10 } });
  });

  test('a pass that hangs is aborted and tried again; other keys go on', async () => {
    const seen: string[] = [];
    start(
      async (key, signal): Promise<undefined> => {
        seen.push(key);
        if (key === 'hangs') await clock.sleep(1_000_000, signal);
        return undefined;
      },
      { passMs: 5_000 },
    );
    queue.add('hangs');
    queue.add('other');
    await clock.advance(6_000);
    expect(seen).toEqual(['hangs', 'other', 'hangs']);
  });

  test('stopping aborts the pass under way, waits for it, and starts no other', async () => {
    const seen: string[] = [];
    start(async (key, signal): Promise<undefined> => {
      await clock.sleep(1_000, signal).catch(() => {});
      await clock.sleep(100, new AbortController().signal);
      seen.push(`${key} ended`);
      return undefined;
    });
    queue.add('a');
    queue.add('b');
    await clock.advance(0);
    stop.abort(new Error('stop'));
    await clock.advance(99);
    expect(seen).toEqual([]);
    await clock.advance(1);
    await running;
    expect(seen).toEqual(['a ended']);
  });
});
