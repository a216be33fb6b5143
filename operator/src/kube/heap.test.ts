/** What a cache of many Pods costs. client-node's informer takes 267 MB of heap for the same 10,000. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from '@jest/globals';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { systemRandom } from '../lib/random.ts';
import { ApiServerStore } from './api-server.ts';
import { FaultyApiServer } from './faulty-api-server.ts';
import { Reflector } from './reflector.ts';
import { ResourceCache } from './resource-cache.ts';
import { type Pod, pods } from './resource-types.ts';

const COUNT = 10_000;
const BOUND_MB = 120;

/** About 4.7 kB of JSON, a third of it managedFields. */
const podJson = (i: number, version: number): string => {
  const env = Array.from({ length: 40 }, (_, n) => ({ name: `VARIABLE_${n}`, value: `value ${n} of pod ${i}` }));
  const mounts = ['in', 'out', 'workspace', 'agent'].map((name) => ({
    name: 'shard',
    mountPath: `/${name}`,
    subPath: `cells/session-${i}/${name}`,
  }));
  const fields = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`f:someField${n}`, { 'f:value': {}, '.': {} }]));
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `session-${i}`,
      namespace: 'test',
      uid: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`,
      resourceVersion: String(version),
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { 'dovecote.dev/session': `session-${i}`, 'dovecote.dev/agent': `agent-${i % 50}` },
      managedFields: [{ manager: 'dovecote-controller', operation: 'Apply', fieldsV1: fields }],
    },
    spec: { nodeName: `node-${i % 9}`, containers: [{ name: 'runner', image: 'localhost/runner:1', env, volumeMounts: mounts }] },
    status: { phase: 'Running', podIP: `10.0.${i >> 8}.${i & 255}`, conditions: [{ type: 'Ready', status: 'True' }] },
  });
};

const heapMb = (): number => {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('gc');
  if (typeof gc === 'function') for (let i = 0; i < 3; i += 1) gc();
  return process.memoryUsage().heapUsed / 1024 / 1024;
};

test(`a cache of ${COUNT} Pods, listed and each changed once by a watch, stays under ${BOUND_MB} MB`, async () => {
  const server = await FaultyApiServer.start();
  const size = 500;
  for (let from = 0; from < COUNT; from += size) {
    server.lists.push((response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const more = from + size < COUNT ? `,"continue":"${from + size}"` : '';
      const items = Array.from({ length: size }, (_, i) => podJson(from + i, 1));
      response.end(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"${more}},"items":[${items.join(',')}]}`);
    });
  }
  let bytes = 0;
  server.watches.push(async (response) => {
    response.writeHead(200);
    for (let i = 0; i < COUNT; i += 1) {
      const line = `{"type":"MODIFIED","object":${podJson(i, i + 2)}}\n`;
      bytes += line.length;
      if (!response.write(line)) await new Promise((resolve) => response.once('drain', resolve));
    }
  });
  const store = new ApiServerStore({ kubeConfig: server.kubeConfig, namespace: 'test', clock: systemClock, random: systemRandom });
  const cache = new ResourceCache<Pod, 'agent'>({
    log: silentLog,
    clock: systemClock,
    indexes: { agent: (pod) => [pod.metadata.labels?.['dovecote.dev/agent'] ?? ''] },
  });
  const stop = new AbortController();
  const before = heapMb();
  const startedAt = performance.now();
  const running = new Reflector({ store, type: pods, cache, clock: systemClock, random: systemRandom, log: silentLog }).run(stop.signal);
  await cache.synced(stop.signal);
  const listedMs = performance.now() - startedAt;
  while (cache.get(`session-${COUNT - 1}`)?.metadata.resourceVersion !== String(COUNT + 1))
    await new Promise((resolve) => setTimeout(resolve, 20));
  const totalMs = performance.now() - startedAt;
  const grownMb = heapMb() - before;
  expect(cache.size).toBe(COUNT);
  expect(cache.byIndex('agent', 'agent-7').length).toBe(COUNT / 50);
  process.stdout.write(
    `${COUNT} Pods (${(bytes / 1024 / 1024).toFixed(1)} MB of JSON): ${grownMb.toFixed(1)} MB of heap, listed in ${listedMs.toFixed(0)} ms, with as many events ${totalMs.toFixed(0)} ms\n`,
  );
  expect(grownMb).toBeLessThan(BOUND_MB);
  stop.abort();
  await running;
  await store.close();
  await server.close();
});
