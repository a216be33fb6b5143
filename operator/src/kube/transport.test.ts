import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';
import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import { systemRandom } from '../lib/random.ts';
import { ApiServerStore } from './api-server.ts';
import { ForbiddenError, InvalidError, ThrottledError } from './errors.ts';
import { type Answer, FaultyApiServer, hangUp, page, refusal, silence, stream } from './faulty-api-server.ts';
import { configMaps } from './resource-types.ts';
import type { TransportOptions } from './transport.ts';

const map = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'm', namespace: 'test', uid: 'u', resourceVersion: '1', creationTimestamp: 't' },
};
const ok: Answer = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(map));
};
const by = { fieldManager: 'test' };

describe('the store over an API server', () => {
  let server: FaultyApiServer;
  const stores: ApiServerStore[] = [];
  const open = (options: { transport?: Partial<TransportOptions>; kubeConfig?: KubeConfig; clock?: Clock } = {}): ApiServerStore => {
    const store = new ApiServerStore({
      kubeConfig: server.kubeConfig,
      namespace: 'test',
      clock: systemClock,
      random: systemRandom,
      ...options,
    });
    stores.push(store);
    return store;
  };
  beforeEach(async () => {
    server = await FaultyApiServer.start();
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
    for (let left = 100; server.openSockets > 0 && left > 0; left -= 1) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(server.openSockets).toBe(0);
    await server.close();
  });

  test('waits out a few throttled answers, then says so, with the time the server asked for', async () => {
    server.others.push(refusal(429, 'TooManyRequests', { 'retry-after': '0' }));
    const store = open({ transport: { throttleRetries: 2 } });
    await expect(store.create(configMaps, map, by)).rejects.toBeInstanceOf(ThrottledError);
    expect(server.requests).toEqual(['POST', 'POST', 'POST']);
    server.others[0] = refusal(429, 'TooManyRequests', { 'retry-after': '120' });
    await expect(store.create(configMaps, map, by)).rejects.toMatchObject({ afterMs: 120_000 });
    expect(server.requests.length).toBe(4);
  });

  test('a write whose answer never comes is ended by its deadline, and not done twice', async () => {
    server.others.push(silence);
    const store = open({ transport: { requestMs: 1_000 } });
    await expect(store.apply(configMaps, map, by)).rejects.toThrow('cannot apply ConfigMap m: no answer within 1000 ms');
    expect(server.requests).toEqual(['PATCH']);
  });

  describe('an apply that the server calls its own failure', () => {
    const scripted = (code: number, message: string, causes: object[] = []): Answer => {
      return (response) => {
        response.writeHead(code, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ kind: 'Status', code, message, details: { causes } }));
      };
    };
    const misfit = 'failed to create typed patch object (test/m; v1, Kind=ConfigMap): .dta: field not declared in schema';

    test('is invalid, in its words, when it could not be created either', async () => {
      server.others.push(scripted(500, misfit), scripted(400, 'strict decoding error: unknown field "dta"'));
      const failure = await open()
        .apply(configMaps, map, by)
        .catch((e: unknown) => e);
      expect(failure).toBeInstanceOf(InvalidError);
      expect(failure).toMatchObject({ message: misfit });
      expect(server.requests).toEqual(['PATCH', 'POST']);
    });

    test.each([
      ['exists', refusal(409, 'AlreadyExists')],
      ['is there', ok],
      ['may not be created by us', refusal(403, 'Forbidden')],
      ['meets the same failure', refusal(500, 'InternalError')],
    ])('stays one, to be tried again, when what it would make %s', async (_, second) => {
      server.others.push(refusal(500, 'InternalError'), second);
      await expect(open().apply(configMaps, map, by)).rejects.toThrow('cannot apply ConfigMap m: scripted 500 (500)');
    });
  });

  test('a connection that the server closes as we use it: a read is tried once more, a write is not', async () => {
    server.lists.push(hangUp, page('1', []));
    server.others.push(hangUp);
    const store = open();
    expect((await store.list(configMaps)).resourceVersion).toBe('1');
    await expect(store.create(configMaps, map, by)).rejects.toThrow(/^cannot create ConfigMap m: .*\((ECONNRESET|UND_ERR_SOCKET)\)$/);
    expect(server.requests).toEqual(['list', 'list', 'POST']);
  });

  test("the caller's signal ends a request, with its own reason", async () => {
    server.lists.push(silence);
    const stop = new AbortController();
    const listing = open().list(configMaps, undefined, { signal: stop.signal });
    setTimeout(() => stop.abort(new Error('enough')), 20);
    await expect(listing).rejects.toThrow('enough');
  });

  test('closing ends what is under way', async () => {
    server.lists.push(silence);
    server.watches.push(stream([], 'open'));
    const store = open();
    const listing = store.list(configMaps);
    const watching = (async () => {
      for await (const _ of store.watch(configMaps, { resourceVersion: '1', signal: new AbortController().signal }))
        throw new Error('no event');
    })();
    setTimeout(() => store.close(), 50);
    await expect(listing).rejects.toThrow();
    await watching;
    await expect(store.get(configMaps, 'm')).rejects.toThrow('the connection to the API server is closed');
  });

  test('a rotated token is read again: at once when the old one is refused, and from its file in time', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'token-'));
    const tokenFile = join(directory, 'token');
    await writeFile(tokenFile, 'one');
    let valid = 'one';
    const seen: string[] = [];
    server.others.push((response, request) => {
      const token = String(request.headers.authorization);
      seen.push(token);
      (token === `Bearer ${valid}` ? ok : refusal(401, 'Unauthorized'))(response, request);
    });
    let now = 1_000_000;
    const kubeConfig = new KubeConfig();
    const cluster = server.kubeConfig.getCurrentCluster();
    if (cluster === null) throw new Error('no cluster');
    kubeConfig.loadFromClusterAndUser(cluster, { name: 'u', authProvider: { name: 'tokenFile', config: { tokenFile } } });
    const store = open({ kubeConfig, clock: { now: () => now, sleep: systemClock.sleep } });
    await store.apply(configMaps, map, by);
    await writeFile(tokenFile, 'two');
    valid = 'two';
    await store.apply(configMaps, map, by);
    expect(seen).toEqual(['Bearer one', 'Bearer one', 'Bearer two']);
    await writeFile(tokenFile, 'three');
    await store.apply(configMaps, map, by);
    now += 11_000;
    valid = 'three';
    await store.apply(configMaps, map, by);
    expect(seen.slice(3)).toEqual(['Bearer two', 'Bearer three']);
    valid = 'none of them';
    await expect(store.apply(configMaps, map, by)).rejects.toBeInstanceOf(ForbiddenError);
    expect(seen.slice(5)).toEqual(['Bearer three', 'Bearer three']);
    await rm(directory, { recursive: true });
  });

  test('requests share a few connections', async () => {
    server.lists.push(page('1', []));
    const store = open({ transport: { connections: 3 } });
    await Promise.all(Array.from({ length: 30 }, () => store.list(configMaps)));
    expect(server.openSockets).toBeLessThanOrEqual(3);
  });
});
