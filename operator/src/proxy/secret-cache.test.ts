import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { EmbeddedStore } from '../kube/embedded/embedded-store.ts';
import { secrets } from '../kube/resource-types.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { systemRandom } from '../lib/random.ts';
import { secretValues } from '../roles/secret-values.ts';
import { anthropic, createProxyBench, type ProxyBench } from './testing/proxy-bench.ts';

let folder: string;
let store: EmbeddedStore;
let bench: ProxyBench;
let now = 0;
let reads = 0;
/** what the provider takes */
let key = 'one';

beforeEach(async () => {
  [now, reads, key] = [Date.now(), 0, 'one'];
  folder = mkdtempSync(join(tmpdir(), 'dovecote-secrets-'));
  store = new EmbeddedStore({
    path: join(folder, 'store.db'),
    namespace: 'test',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });
  const read = secretValues(store);
  bench = await createProxyBench({
    clock: { ...systemClock, now: () => now },
    secrets: (name) => {
      reads += 1;
      return read(name);
    },
  });
  const url = await bench.upstream((incoming, response) => {
    incoming.resume();
    response.writeHead(incoming.headers['x-api-key'] === key ? 200 : 401, { 'content-type': 'application/json' });
    response.end('{}');
  });
  bench.agent(anthropic(url));
});
afterEach(async () => {
  await bench.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const put = (value: string) =>
  store.create(secrets, { metadata: { name: 'anthropic' }, data: { 'api-key': base64(value) } }, { fieldManager: 'test' });
const exchange = (value: string) => store.patch(secrets, 'anthropic', { data: { 'api-key': base64(value) } }, { fieldManager: 'test' });
const ask = async (): Promise<number> => (await bench.request('/anthropic/v1/models')).status;

test('a Secret is read once for all requests of a few seconds; exchanged or deleted, it counts after those', async () => {
  expect([await ask(), await ask(), reads]).toEqual([403, 403, 2]); // what is missing is looked for each time
  await put('one');
  expect(await Promise.all(Array.from({ length: 10 }, ask))).toEqual(Array(10).fill(200));
  expect(reads).toBe(3);
  now += 5_000;
  expect([await ask(), await ask(), reads]).toEqual([200, 200, 4]);
  await store.delete(secrets, 'anthropic');
  now += 5_000;
  expect([await ask(), reads]).toEqual([403, 5]);
});

test('a key that the provider refuses is read anew for the next request', async () => {
  await put('one');
  expect(await ask()).toBe(200);
  await exchange('two');
  key = 'two';
  expect([await ask(), await ask(), reads]).toEqual([401, 200, 2]);
});
