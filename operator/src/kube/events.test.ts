import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { silentLog } from '../lib/log.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { systemRandom } from '../lib/random.ts';
import { EmbeddedStore } from './embedded/embedded-store.ts';
import { EventRecorder, type NewEvent } from './events.ts';
import { createKubeMetrics, type KubeMetrics } from './metrics.ts';
import { configMaps, events, type KubeEvent } from './resource-types.ts';
import type { KubeObject } from './store.ts';

describe('an event recorder', () => {
  let clock: ManualClock;
  let store: EmbeddedStore;
  let metrics: KubeMetrics;
  let recorder: EventRecorder;
  let regarding: KubeObject;
  let stop: AbortController;
  let running: Promise<void>;

  beforeEach(async () => {
    clock = new ManualClock();
    store = new EmbeddedStore({ path: ':memory:', namespace: 'test', clock, random: systemRandom, log: silentLog });
    metrics = createKubeMetrics(new Registry());
    regarding = await store.create(configMaps, { metadata: { name: 'm' } }, { fieldManager: 'test' });
    stop = new AbortController();
    const reporter = { controller: 'dovecote.dev/test', instance: 'pod-1' };
    recorder = new EventRecorder({ store, reporter, clock, random: systemRandom, log: silentLog, metrics });
    running = recorder.run(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await clock.advance(10_000);
    await running;
    await store.close();
  });
  const event = (note: string): NewEvent => ({ regarding, type: 'Warning', reason: 'Broken', action: 'Mend', note });
  const all = async (): Promise<readonly KubeEvent[]> => (await store.list(events)).items;
  const dropped = async (cause: string): Promise<number> =>
    (await metrics.droppedEvents.get()).values.find((v) => v.labels['cause'] === cause)?.value ?? 0;

  test('writes what an API server wants to know', async () => {
    recorder.record(event('it broke'));
    await clock.advance(0);
    expect(await all()).toMatchObject([
      {
        type: 'Warning',
        reason: 'Broken',
        action: 'Mend',
        note: 'it broke',
        reportingController: 'dovecote.dev/test',
        reportingInstance: 'pod-1',
        regarding: { kind: 'ConfigMap', name: 'm', uid: regarding.metadata.uid },
      },
    ]);
    expect((await all())[0]?.eventTime).toMatch(/\.\d{6}Z$/);
  });

  test('the same again becomes a series; its count is written now and then', async () => {
    for (let i = 0; i < 5; i += 1) recorder.record(event('it broke'));
    await clock.advance(29_000);
    expect((await all()).map((e) => e.series?.count)).toEqual([undefined]);
    await clock.advance(31_000);
    expect((await all()).map((e) => e.series?.count)).toEqual([5]);
    await clock.advance(400_000);
    recorder.record(event('it broke'));
    await clock.advance(0);
    expect((await all()).length).toBe(2);
  });

  test('one object cannot flood: what is too much is dropped and counted', async () => {
    for (let i = 0; i < 50; i += 1) recorder.record(event(`it broke for the ${i}th time`));
    await clock.advance(0);
    expect((await all()).length).toBe(10);
    expect(await dropped('rate')).toBe(40);
    await clock.advance(61_000);
    recorder.record(event('and again'));
    await clock.advance(0);
    expect((await all()).length).toBe(11);
  });

  test('tells transitions of conditions, and no states', async () => {
    const ready = {
      type: 'Ready',
      status: 'True',
      reason: 'Accepted',
      message: 'works',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    } as const;
    recorder.recordTransitions(regarding, { before: [ready], after: [ready] });
    recorder.recordTransitions(regarding, {
      before: [ready],
      after: [{ ...ready, status: 'False', reason: 'SecretMissing', message: 'no Secret' }],
    });
    await clock.advance(0);
    expect((await all()).map((e) => `${e.type} ${e.reason} ${e.action} ${e.note}`)).toEqual([
      'Warning SecretMissing ReadyChanged no Secret',
    ]);
  });

  test('a store that fails is no failure of the caller', async () => {
    await store.close();
    recorder.record(event('it broke'));
    await clock.advance(0);
    expect(await dropped('error')).toBe(1);
  });
});
