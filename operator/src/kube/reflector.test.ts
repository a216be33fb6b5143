import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { type Clock, systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { systemRandom } from '../lib/random.ts';
import { ApiServerStore } from './api-server.ts';
import { FaultyApiServer, page, refusal, silence, stream } from './faulty-api-server.ts';
import { createKubeMetrics, type KubeMetrics } from './metrics.ts';
import { Reflector, type ReflectorOptions } from './reflector.ts';
import { ResourceCache } from './resource-cache.ts';
import { type ConfigMap, configMaps } from './resource-types.ts';
import type { TransportOptions } from './transport.ts';

const map = (name: string, resourceVersion: string, extra: object = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: {
    name,
    namespace: 'test',
    uid: `uid-${name}`,
    resourceVersion,
    creationTimestamp: '2026-01-01T00:00:00Z',
    managedFields: [{}],
  },
  ...extra,
});
const added = (name: string, version: string, extra?: object) => ({ type: 'ADDED', object: map(name, version, extra) });
const bookmark = (resourceVersion: string) => ({
  type: 'BOOKMARK',
  object: { kind: 'ConfigMap', apiVersion: 'v1', metadata: { resourceVersion } },
});
const streamError = (code: number) => ({
  type: 'ERROR',
  object: { kind: 'Status', code, reason: 'Scripted', message: `scripted ${code}` },
});

describe('a reflector', () => {
  let server: FaultyApiServer;
  let store: ApiServerStore;
  let cache: ResourceCache<ConfigMap>;
  let metrics: KubeMetrics;
  let stop: AbortController;
  let running: Promise<void>;
  const told: string[] = [];

  const start = (options: Partial<ReflectorOptions> = {}, transport: Partial<TransportOptions> = {}, clock: Clock = systemClock): void => {
    store = new ApiServerStore({ kubeConfig: server.kubeConfig, namespace: 'test', clock: systemClock, random: systemRandom, transport });
    cache = new ResourceCache<ConfigMap>({ log: silentLog, clock });
    cache.onChange(({ type, object }) => told.push(`${type} ${object.metadata.name}`));
    const reflector = new Reflector({
      store,
      type: configMaps,
      cache,
      clock,
      random: systemRandom,
      log: silentLog,
      metrics,
      options: { retry: { baseMs: 5, maxMs: 20 }, ...options },
    });
    running = reflector.run(stop.signal);
  };
  const until = async (check: () => boolean): Promise<void> => {
    for (let left = 6_000; !check(); left -= 1) {
      if (left === 0) throw new Error(`not within a minute; requests: ${server.requests.join(', ')}; told: ${told.join(', ')}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const names = (): string[] => cache.list().map((o) => o.metadata.name);
  const count = async (
    metric: { get(): Promise<{ values: readonly { value: number; labels: object }[] }> },
    labels: object,
  ): Promise<number> =>
    (await metric.get()).values.find((v) => Object.entries(labels).every(([k, x]) => Reflect.get(v.labels, k) === x))?.value ?? 0;

  beforeEach(async () => {
    server = await FaultyApiServer.start();
    metrics = createKubeMetrics(new Registry());
    stop = new AbortController();
    told.length = 0;
  });
  afterEach(async () => {
    stop.abort(new Error('test over'));
    await running;
    await store.close();
    await until(() => server.openSockets === 0);
    await server.close();
  });

  test('survives a first list that fails, and has synced only after one that does not', async () => {
    server.lists.push(refusal(500, 'InternalError'), refusal(503, 'ServiceUnavailable'), page('5', [map('a', '3')]));
    server.watches.push(stream([], 'open'));
    start();
    const synced = cache.synced(stop.signal);
    expect(cache.hasSynced).toBe(false);
    expect(cache.lastEventAgeMs()).toBe(Number.POSITIVE_INFINITY);
    await synced;
    expect(names()).toEqual(['a']);
    await until(() => server.requests.length === 4);
    expect(server.requests).toEqual(['list', 'list', 'list', 'watch 5']);
    expect(await count(metrics.lists, { result: 'error' })).toBe(2);
  });

  test('reads all pages of a list', async () => {
    server.lists.push(page('5', [map('a', '1')], 'x'), page('5', [map('b', '2')], 'y'), page('5', [map('c', '3')]));
    server.watches.push(stream([], 'open'));
    start();
    await cache.synced(stop.signal);
    expect(names()).toEqual(['a', 'b', 'c']);
    expect(server.requests.slice(0, 3)).toEqual(['list', 'list continue=x', 'list continue=y']);
  });

  test('reads a list again in one piece when its pages are forgotten half way', async () => {
    server.lists.push(page('5', [map('a', '1')], 'x'), refusal(410, 'Expired'), page('6', [map('a', '1'), map('b', '6')]));
    server.watches.push(stream([], 'open'));
    start();
    await cache.synced(stop.signal);
    expect(names()).toEqual(['a', 'b']);
    await until(() => server.requests.includes('watch 6'));
    expect(server.requests).toEqual(['list', 'list continue=x', 'list whole', 'watch 6']);
  });

  test('goes on from the last event when the socket is reset, between events or in the middle of one', async () => {
    server.lists.push(page('5', []));
    server.watches.push(
      stream([added('a', '6')], 'reset'),
      stream([added('b', '7'), added('c', '8')], 'reset-mid-line'),
      stream([added('c', '8'), added('d', '9')], 'end-mid-line'),
      stream([added('d', '9')], 'open'),
    );
    start();
    await until(() => cache.size === 4);
    expect(server.requests).toEqual(['list', 'watch 5', 'watch 6', 'watch 7', 'watch 8']);
    expect(told).toEqual(['ADDED a', 'ADDED b', 'ADDED c', 'ADDED d']);
    // An end in the middle of an event is no good end.
    expect(await count(metrics.watchEnds, { why: 'error' })).toBe(3);
  });

  test('goes on from the last bookmark when the server ends the stream, without a list', async () => {
    server.lists.push(page('5', []));
    server.watches.push(stream([added('a', '6'), bookmark('90')], 'end'), stream([added('b', '91')], 'open'));
    start();
    await until(() => cache.size === 2);
    expect(server.requests).toEqual(['list', 'watch 5', 'watch 90']);
    expect(await count(metrics.watchEnds, { why: 'closed' })).toBe(1);
  });

  test.each([
    ['as an answer', refusal(410, 'Expired')],
    ['in the stream', stream([streamError(410)], 'end')],
  ])('lists again after a 410 %s, and tells what went meanwhile', async (_, gone) => {
    server.lists.push(page('5', [map('a', '1'), map('b', '2')]), page('50', [map('b', '2'), map('c', '40')]));
    server.watches.push(gone, stream([], 'open'));
    start();
    await until(() => server.requests.includes('watch 50'));
    expect(server.requests).toEqual(['list', 'watch 5', 'list', 'watch 50']);
    expect(told).toEqual(['ADDED a', 'ADDED b', 'DELETED a', 'ADDED c']);
  });

  test('goes on after a 500 in the stream', async () => {
    server.lists.push(page('5', []));
    server.watches.push(stream([added('a', '6'), streamError(500)], 'open'), stream([added('b', '7')], 'open'));
    start();
    await until(() => cache.size === 2);
    expect(server.requests).toEqual(['list', 'watch 5', 'watch 6']);
    expect(await count(metrics.watchEnds, { why: 'error' })).toBe(1);
  });

  test('gives up on a list or a watch whose headers never come', async () => {
    server.lists.push(silence, page('5', []));
    server.watches.push(silence, stream([added('a', '6')], 'open'));
    start({}, { requestMs: 50, headersMs: 50 });
    await until(() => cache.size === 1);
    expect(server.requests).toEqual(['list', 'list', 'watch 5', 'watch 5']);
  });

  test('gives up on a stream that falls silent, and not on one that sends bookmarks', async () => {
    const clock = new ManualClock();
    server.lists.push(page('5', []));
    let sign = (_version: number): void => {};
    server.watches.push(stream([added('a', '6')], 'open'), (response) => {
      response.writeHead(200);
      sign = (version) => void response.write(`${JSON.stringify(bookmark(String(version)))}\n`);
    });
    start({ silentMs: 500 }, {}, clock);
    await until(() => cache.size === 1);
    await clock.advance(500);
    await until(() => {
      clock.jump(1); // it pauses before it tries again
      return server.requests.length === 3;
    });
    expect(server.requests).toEqual(['list', 'watch 5', 'watch 6']);
    for (let version = 10; version < 15; version += 1) {
      await clock.advance(400);
      sign(version);
      await until(() => cache.lastEventAgeMs() === 0);
    }
    expect(server.requests.length).toBe(3);
    expect(await count(metrics.watchEnds, { why: 'silent' })).toBe(1);
  });

  test('waits as long as a throttling server asks, and tries again', async () => {
    server.lists.push(refusal(429, 'TooManyRequests', { 'retry-after': '1' }), page('5', [map('a', '1')]));
    server.watches.push(stream([], 'open'));
    const before = Date.now();
    start();
    await cache.synced(stop.signal);
    expect(Date.now() - before).toBeGreaterThanOrEqual(990); // a timer may be a millisecond early
    expect(await count(metrics.lists, { result: 'error' })).toBe(0);
  });

  test('does not spin when the server ends every watch at once', async () => {
    server.lists.push(page('5', []));
    server.watches.push(stream([], 'end'));
    const began = Date.now();
    start({ retry: { baseMs: 100, maxMs: 100 } });
    await until(() => server.requests.length >= 3);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(server.requests.length).toBeLessThan(12 + (Date.now() - began) / 25);
    expect(server.requests.filter((r) => r === 'list').length).toBe(1);
  });

  test('stopped during a list leaves no socket open and opens no watch', async () => {
    server.lists.push(silence);
    start();
    await until(() => server.requests.length === 1);
    stop.abort(new Error('stop'));
    await running;
    await store.close();
    await until(() => server.openSockets === 0);
    expect(server.requests).toEqual(['list']);
    expect(cache.hasSynced).toBe(false);
    await expect(cache.synced(stop.signal)).rejects.toThrow('stop');
  });

  test('stopped during a watch ends at once', async () => {
    server.lists.push(page('5', []));
    server.watches.push(stream([], 'open'));
    start();
    await until(() => server.requests.includes('watch 5'));
    stop.abort(new Error('stop'));
    await running;
  });

  test('an object that cannot be read is kept apart and counted; its last readable version stays', async () => {
    const bad = (name: string, version: string) => map(name, version, { data: { x: 5 } });
    server.lists.push(page('5', [map('a', '1'), bad('b', '2')]));
    server.watches.push(
      stream([{ type: 'MODIFIED', object: bad('a', '6') }, added('c', '7'), { type: 'DELETED', object: bad('b', '8') }], 'open'),
    );
    start();
    await cache.synced(stop.signal);
    expect(cache.invalid()).toMatchObject([{ name: 'b', error: { message: expect.stringContaining('data.x must be a string') } }]);
    await until(() => cache.size === 2);
    await until(() => cache.invalid()[0]?.name === 'a');
    expect(cache.get('a')?.metadata.resourceVersion).toBe('1');
    expect(told).toEqual(['ADDED a', 'ADDED c']);
    expect(await count(metrics.invalidObjects, { kind: 'ConfigMap' })).toBe(3);
  });
});
