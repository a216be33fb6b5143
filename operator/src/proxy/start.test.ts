import { createServer, type IncomingMessage } from 'node:http';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { silentLog } from '../lib/log.ts';
import { type RunningProxy, startProxy, type UpstreamLookup } from './start.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

interface Seen {
  headers: IncomingMessage['headers'];
  url: string | undefined;
  body: string;
}

async function upstreamServer(
  answer: (seen: Seen, write: (chunk: string) => void, end: () => void) => void,
): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      const one = { headers: request.headers, url: request.url, body };
      seen.push(one);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      answer(
        one,
        (chunk) => response.write(chunk),
        () => response.end(),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
  const address = server.address();
  return { url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`, seen };
}

async function proxyFor(lookup: UpstreamLookup): Promise<RunningProxy> {
  const proxy = await startProxy({
    listen: '127.0.0.1:0',
    reviewer: { review: async (token) => (token === 'pod-token' ? { type: 'session', session: 's1', podUid: 'u1' } : undefined) },
    upstreamOf: async () => lookup,
    log: silentLog,
    registry: new Registry(),
  });
  closers.push(() => proxy.close());
  return proxy;
}

describe('the proxy', () => {
  test('puts the key in, and passes nothing else of the Pod on', async () => {
    const upstream = await upstreamServer((_, write, end) => {
      write('event: ping\n\n');
      end();
    });
    const proxy = await proxyFor({ found: true, upstream: { baseURL: upstream.url, apiKey: 'the-key' } });
    const response = await fetch(`http://${proxy.address}/anthropic/v1/messages`, {
      method: 'POST',
      headers: { authorization: 'Bearer pod-token', 'content-type': 'application/json', cookie: 'a=b', 'anthropic-version': '2023-06-01' },
      body: '{"model":"m"}',
    });
    expect(await response.text()).toBe('event: ping\n\n');
    expect(upstream.seen[0]?.headers['x-api-key']).toBe('the-key');
    expect(upstream.seen[0]?.headers.authorization).toBeUndefined();
    expect(upstream.seen[0]?.headers.cookie).toBeUndefined();
    expect(upstream.seen[0]?.body).toBe('{"model":"m"}');
    expect(upstream.seen[0]?.url).toBe('/v1/messages');
  });

  test('streams: the first event arrives while the answer still goes on', async () => {
    let finish: (() => void) | undefined;
    const upstream = await upstreamServer((_, write, end) => {
      write('one\n');
      finish = end;
    });
    const proxy = await proxyFor({ found: true, upstream: { baseURL: upstream.url, apiKey: 'k' } });
    const response = await fetch(`http://${proxy.address}/anthropic/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': 'pod-token' },
      body: '{}',
    });
    const reader = response.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('one\n');
    finish?.();
    expect((await reader?.read())?.done).toBe(true);
  });

  test('refuses a token that no awake session holds', async () => {
    const proxy = await proxyFor({ found: false, sentence: '' });
    const response = await fetch(`http://${proxy.address}/anthropic/v1/messages`, {
      method: 'POST',
      headers: { authorization: 'Bearer other' },
      body: '{}',
    });
    expect(response.status).toBe(401);
  });

  test('says which Secret is missing, in the form of the provider', async () => {
    const proxy = await proxyFor({ found: false, sentence: 'the Secret anthropic has no key api-key' });
    const response = await fetch(`http://${proxy.address}/anthropic/v1/messages`, {
      method: 'POST',
      headers: { authorization: 'Bearer pod-token' },
      body: '{}',
    });
    expect(response.status).toBe(403);
    expect(await response.json()).toEqual({
      type: 'error',
      error: { type: 'permission_error', message: 'the Secret anthropic has no key api-key' },
    });
  });

  test('keeps the rest of the provider shut', async () => {
    const upstream = await upstreamServer((_, __, end) => end());
    const proxy = await proxyFor({ found: true, upstream: { baseURL: upstream.url, apiKey: 'k' } });
    for (const path of ['/anthropic/v1/files', '/anthropic/v1/messages/../files', '/v1/messages', '/anthropic/v1/messages?x=http://evil']) {
      const response = await fetch(`http://${proxy.address}${path}`, {
        method: 'POST',
        headers: { authorization: 'Bearer pod-token' },
        body: '{}',
      });
      expect(response.status).toBe(404);
    }
    expect(upstream.seen).toHaveLength(0);
  });

  test('answers 502 when the provider cannot be reached', async () => {
    const proxy = await proxyFor({ found: true, upstream: { baseURL: 'http://127.0.0.1:9', apiKey: 'k' } });
    const response = await fetch(`http://${proxy.address}/anthropic/v1/messages`, {
      method: 'POST',
      headers: { authorization: 'Bearer pod-token' },
      body: '{}',
    });
    expect(response.status).toBe(502);
  });
});
