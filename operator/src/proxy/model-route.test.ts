import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../lib/clock.ts';
import { StatusError, status } from '../lib/grpc.ts';
import { LocalTokens } from '../local/tokens.ts';
import { anthropic, bodyOf, createProxyBench, type ProxyBench, TOKEN, until } from './testing/proxy-bench.ts';

let bench: ProxyBench;
let rejectUnexpected: string[] = [];
const onRejection = (reason: unknown): void => void rejectUnexpected.push(String(reason));
beforeEach(async () => {
  rejectUnexpected = [];
  process.on('unhandledRejection', onRejection);
  bench = await createProxyBench();
});
afterEach(async () => {
  await bench.close();
  process.off('unhandledRejection', onRejection);
  expect(rejectUnexpected).toEqual([]);
});

const post = (body = '{"model":"m"}', headers: Record<string, string> = {}, path = '/anthropic/v1/messages') =>
  bench.request(path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
const event = (type: string, data: object): string => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
const START = event('message_start', {
  message: { model: 'claude-1', usage: { input_tokens: 12, output_tokens: 1, cache_read_input_tokens: 7, cache_creation_input_tokens: 5 } },
});
const DELTA = event('content_block_delta', { delta: { type: 'text_delta', text: 'Grüße 🐦 "type":"message_delta"' } });
const END = event('message_delta', { usage: { output_tokens: 34 } }) + event('message_stop', {});

describe('a request to the model', () => {
  test('carries the key, and nothing else of the Pod; only the answer comes back', async () => {
    const seen: { headers: object; url: string | undefined; body: string }[] = [];
    const url = await bench.upstream(async (incoming, response) => {
      seen.push({ headers: incoming.headers, url: incoming.url, body: await bodyOf(incoming) });
      response.writeHead(200, {
        'content-type': 'application/json',
        'request-id': 'r1',
        'set-cookie': 'a=b',
        'x-dovecote-proxy': 'refused',
        'www-authenticate': 'Basic',
      });
      response.end('{}');
    });
    bench.agent(anthropic(`${url}/`));
    const response = await post('{"model":"m"}', {
      cookie: 'a=b',
      'x-forwarded-for': '1',
      'x-api-key': 'own',
      'anthropic-version': '2023-06-01',
    });
    expect(await response.text()).toBe('{}');
    expect(seen).toMatchObject([{ url: '/v1/messages', body: '{"model":"m"}' }]);
    expect(seen[0]?.headers).toMatchObject({ 'x-api-key': 'the-key', 'anthropic-version': '2023-06-01', 'accept-encoding': 'identity' });
    for (const name of ['authorization', 'cookie', 'x-forwarded-for']) expect(seen[0]?.headers).not.toHaveProperty(name);
    expect(response.headers.get('request-id')).toBe('r1');
    for (const name of ['set-cookie', 'x-dovecote-proxy', 'www-authenticate']) expect(response.headers.get(name)).toBeNull();
  });

  test('counts what the API took to sum the conversation up, which its totals leave out', async () => {
    const compaction = {
      type: 'compaction',
      input_tokens: 100,
      output_tokens: 20,
      cache_read_input_tokens: 3,
      cache_creation_input_tokens: 4,
    };
    const iterations = [compaction, { type: 'message', input_tokens: 12, output_tokens: 34 }, 'no iteration', null];
    const url = await bench.upstream(async (incoming, response) => {
      await bodyOf(incoming);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(START + event('message_delta', { usage: { output_tokens: 34, iterations } }) + event('message_stop', {}));
    });
    bench.agent(anthropic(url));
    await (await post()).text();
    await until(() => bench.ledger.finished.length === 1, 'it is told');
    expect(bench.ledger.finished).toMatchObject([{ tokens: { input: 112, output: 54, cacheRead: 10, cacheWrite: 9 } }]);
  });

  test('is admitted before it is sent, and told after it: a stream, an answer in one piece, an error, and one that broke off', async () => {
    const kinds: ((response: import('node:http').ServerResponse) => void)[] = [
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
        // Cut where it hurts: inside of a character, of a line, of an event.
        const bytes = Buffer.from(START + DELTA + END);
        const send = (from: number): void => {
          response.write(bytes.subarray(from, from + 7));
          if (from + 7 < bytes.length) setImmediate(() => send(from + 7));
          else response.end();
        };
        send(0);
      },
      (response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ model: 'claude-2', usage: { input_tokens: 3, output_tokens: 4, cache_read_input_tokens: null } }));
      },
      (response) => {
        response.writeHead(529, { 'content-type': 'application/json', 'retry-after': '7' });
        response.end('{"type":"error","error":{"type":"overloaded_error","message":"busy"},"usage":{"input_tokens":9}}');
      },
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(START + DELTA);
        response.flushHeaders();
        setTimeout(() => response.destroy(), 50);
      },
    ];
    let sentBeforeAdmission = 0;
    const url = await bench.upstream(async (incoming, response) => {
      if (bench.ledger.admitted.length === bench.ledger.finished.length) sentBeforeAdmission += 1;
      await bodyOf(incoming);
      kinds.shift()?.(response);
    });
    bench.agent({ ...anthropic(url), model: 'claude', budget: { tokens: 1_000_000 } });
    expect(await (await post()).text()).toBe(START + DELTA + END);
    expect((await (await post()).json()) as object).toMatchObject({ model: 'claude-2' });
    const refused = await post();
    expect([refused.status, refused.headers.get('retry-after'), refused.headers.get('x-dovecote-proxy')]).toEqual([529, '7', null]);
    await refused.text();
    await expect(post().then((response) => response.text())).rejects.toThrow();
    await until(() => bench.ledger.finished.length === 4, 'the last end');
    expect(sentBeforeAdmission).toBe(0);
    expect(bench.ledger.admitted).toMatchObject(Array(4).fill({ session: 's1', agentGroup: 'helper', model: 'claude' }));
    const zero = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };
    expect(bench.ledger.finished.map(({ model, tokens, complete }) => ({ model, tokens, complete }))).toEqual([
      { model: 'claude-1', tokens: { input: 12, output: 34, cacheRead: 7, cacheWrite: 5 }, complete: true },
      { model: 'claude-2', tokens: { ...zero, input: 3, output: 4 }, complete: true },
      { model: 'claude', tokens: zero, complete: true },
      { model: 'claude-1', tokens: { input: 12, output: 1, cacheRead: 7, cacheWrite: 5 }, complete: false },
    ]);
    expect(bench.ledger.finished.map(({ requestId }) => requestId)).toEqual(bench.ledger.admitted.map(({ requestId }) => requestId));
  });

  test('streams: the first event arrives while the answer goes on, and a client that leaves ends the upstream', async () => {
    let upstreamClosed = false;
    const url = await bench.upstream((_incoming, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(START);
      response.once('close', () => {
        upstreamClosed = true;
      });
    });
    bench.agent(anthropic(url));
    const leave = new AbortController();
    const response = await bench.request('/anthropic/v1/messages', { method: 'POST', body: '{}', signal: leave.signal });
    const reader = response.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(START);
    expect(upstreamClosed).toBe(false);
    leave.abort();
    await until(() => upstreamClosed, 'the end of the upstream');
    await until(() => bench.ledger.finished.length === 1, 'the end told');
    expect(bench.ledger.finished[0]).toMatchObject({ complete: false, tokens: { input: 12 } });
    await until(async () => (await bench.metric('dovecote_proxy_open_requests', { route: 'model' })) === 0, 'nothing open');
  });

  test('waits for a slow reader instead of holding what it has not read', async () => {
    let written = 0;
    const piece = Buffer.alloc(65_536, 'x');
    const url = await bench.upstream((_incoming, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const more = (): void => {
        while (written < 200 * 2 ** 20 && !response.destroyed) {
          written += piece.length;
          if (!response.write(piece)) return;
        }
      };
      response.on('drain', more);
      more();
    });
    bench.agent(anthropic(url));
    const socket = connect(Number(bench.proxy.address.split(':')[1]), '127.0.0.1');
    socket.write(`POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\ncontent-length: 2\r\n\r\n{}`);
    await new Promise((resolve) => socket.once('readable', resolve));
    let before = -1;
    await until(async () => {
      const still = before === written;
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return still;
    }, 'the end of what fits into buffers');
    expect(written).toBeLessThan(64 * 2 ** 20);
    socket.destroy();
  });

  test('is cut when the upstream never ends it and its time is up, or its token ends', async () => {
    await bench.close();
    for (const deps of [
      { limits: { modelMs: 1_500 } },
      { reviewer: { review: async () => ({ type: 'session', session: 's1', podUid: 'p', expiresAt: Date.now() + 1_500 }) as const } },
    ]) {
      bench = await createProxyBench(deps);
      let closed = false;
      const url = await bench.upstream((_incoming, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const beat = setInterval(() => response.write(': still here\n\n'), 20);
        response.once('close', () => {
          closed = true;
          clearInterval(beat);
        });
      });
      bench.agent(anthropic(url));
      await expect(post().then((response) => response.text())).rejects.toThrow();
      await until(() => closed, 'the end of the upstream');
      const labels = { route: 'model', outcome: 'time_up' };
      await until(async () => (await bench.metric('dovecote_proxy_requests_total', labels)) === 1, 'the count');
      if (deps.limits !== undefined) await bench.close();
    }
  });

  test.each([
    ['sends garbage', 'this is no HTTP\r\n\r\n'],
    ['sends half a header', 'HTTP/1.1 200 OK\r\ncontent-le'],
    ['says nothing and hangs up', ''],
  ])('to an upstream that %s is refused in the form of the provider', async (_what, bytes) => {
    const { createServer } = await import('node:net');
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(bytes));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    bench.agent(anthropic(`http://127.0.0.1:${(server.address() as { port: number }).port}`));
    const response = await post();
    expect(response.status).toBe(502);
    expect(response.headers.get('x-dovecote-proxy')).toBe('refused');
    expect(await response.json()).toEqual({
      type: 'error',
      error: { type: 'api_error', message: 'the model provider could not be reached' },
    });
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  test('does not follow a redirect with the key in hand', async () => {
    let stolen = 0;
    const thief = await bench.upstream((_incoming, response) => {
      stolen += 1;
      response.end();
    });
    const url = await bench.upstream((_incoming, response) => {
      response.writeHead(307, { location: `${thief}/v1/messages` });
      response.end();
    });
    bench.agent(anthropic(url));
    const response = await post();
    expect([response.status, response.headers.get('location'), stolen]).toEqual([502, null, 0]);
  });
});

describe('a budget', () => {
  test('that is used up: 402 with the sentence, until when, and whose word it is; nothing is sent', async () => {
    let asked = 0;
    const url = await bench.upstream((_incoming, response) => {
      asked += 1;
      response.end('{}');
    });
    bench.agent({ ...anthropic(url), budget: { tokens: 1 } });
    const retryAtMs = Date.UTC(2026, 11, 1);
    bench.ledger.answer = () => ({ admitted: false, sentence: 'It has used up its budget.', retryAtMs, headroom: undefined });
    const response = await post();
    expect(response.status).toBe(402);
    expect(response.headers.get('x-dovecote-proxy')).toBe('refused');
    expect(Date.parse(response.headers.get('retry-after') ?? '')).toBe(retryAtMs);
    expect(await response.json()).toEqual({ type: 'error', error: { type: 'budget_exhausted', message: 'It has used up its budget.' } });
    expect(asked).toBe(0);
    expect(bench.ledger.finished).toEqual([]);
  });

  test('counts when delivery cannot be asked: with one nothing goes out, without one all goes on and is told later', async () => {
    const url = await bench.upstream((_incoming, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('{"usage":{"input_tokens":1}}');
    });
    const answer = bench.ledger.answer;
    bench.ledger.answer = () => {
      throw new StatusError(status.UNAVAILABLE, 'it restarts');
    };
    bench.agent({ ...anthropic(url), budget: { tokens: 1_000 } });
    const closed = await post();
    expect([closed.status, closed.headers.get('x-dovecote-proxy'), closed.headers.get('retry-after')]).toEqual([503, 'refused', '5']);
    bench.agent(anthropic(url));
    expect((await post()).status).toBe(200);
    bench.ledger.answer = answer;
    await until(() => bench.ledger.finished.length === 1, 'the end told');
    expect(bench.ledger.finished[0]?.tokens).toMatchObject({ input: 1 });
    await until(async () => (await bench.metric('dovecote_proxy_unadmitted_total')) === 1, 'the count');
  });

  test('hears of every end when delivery is back, but for those that no longer fit into the queue, which are counted', async () => {
    await bench.close();
    bench = await createProxyBench({ limits: { unfinished: 3 } });
    const url = await bench.upstream((_incoming, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('{"usage":{"input_tokens":1}}');
    });
    bench.agent(anthropic(url));
    let away = true;
    bench.ledger.take = () => {
      if (away) throw new StatusError(status.UNAVAILABLE, 'it restarts');
    };
    for (let i = 0; i < 5; i++) await (await post()).text();
    await until(async () => (await bench.metric('dovecote_proxy_usage_lost_total')) === 2, 'what is lost');
    expect(await bench.metric('dovecote_proxy_usage_pending')).toBe(3);
    away = false;
    await until(() => bench.ledger.finished.length === 3, 'the ends told');
    await until(async () => (await bench.metric('dovecote_proxy_usage_pending')) === 0, 'an empty queue');
    expect(bench.ledger.finished.map(({ requestId }) => requestId).sort()).toEqual(
      bench.ledger.admitted
        .slice(0, 3)
        .map(({ requestId }) => requestId)
        .sort(),
    );
  });

  test('far from its end: a request goes out while its row is being written, so many at once as delivery said, and no longer', async () => {
    await bench.close();
    let ahead = 0;
    bench = await createProxyBench({ clock: { ...systemClock, now: () => Date.now() + ahead } });
    const url = await bench.upstream((_incoming, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('{"usage":{"input_tokens":1}}');
    });
    const far = (generation: number) => bench.agent({ ...anthropic(url), budget: { tokens: 10 ** 9 } }, generation);
    far(1);
    bench.ledger.headroom = { requests: 2, forMs: 60_000 };
    const begun = () => bench.ledger.admitted.map((request) => request.begun);
    const told = (count: number) => until(() => bench.ledger.finished.length === count, `end ${count} told`);
    await (await post()).text(); // nobody has said anything yet
    await told(1);

    const answer = bench.ledger.answer;
    const rows = Promise.withResolvers<void>();
    let asked = 0;
    bench.ledger.answer = async () => {
      asked += 1;
      await rows.promise;
      return answer();
    };
    bench.ledger.take = () => {
      throw new StatusError(status.UNAVAILABLE, 'its end makes no row either');
    };
    expect([(await post()).status, (await post()).status]).toEqual([200, 200]);
    const third = post();
    await until(() => asked === 3, 'the third asks, as two are no rows yet');
    rows.resolve();
    expect((await third).status).toBe(200);
    bench.ledger.answer = answer;
    bench.ledger.take = () => {};
    await told(4);
    expect(begun().sort()).toEqual([false, false, true, true]);
    expect(new Set(bench.ledger.admitted.map(({ holder }) => holder)).size).toBe(1);

    const next = async (): Promise<boolean | undefined> => {
      const count = bench.ledger.finished.length;
      await (await post()).text();
      await told(count + 1);
      await until(() => bench.ledger.admitted.length === count + 1, 'its row');
      return begun().at(-1);
    };
    expect(await next()).toBe(true);
    ahead = 60_001;
    expect([await next(), await next()]).toEqual([false, true]);
    far(2); // another budget
    expect([await next(), await next()]).toEqual([false, true]);
    bench.ledger.headroom = undefined; // near the end
    expect([await next(), await next(), await next()]).toEqual([true, false, false]);
  });

  test('far from its end, while delivery restarts: what is open is a row as soon as it is back', async () => {
    const url = await bench.upstream((incoming, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(START);
      if (incoming.headers['anthropic-beta'] !== 'open') response.end(END);
    });
    bench.agent({ ...anthropic(url), budget: { tokens: 10 ** 9 } });
    bench.ledger.headroom = { requests: 2, forMs: 60_000 };
    await (await post()).text();
    await until(() => bench.ledger.finished.length === 1, 'headroom');
    const answer = bench.ledger.answer;
    let refusals = 0;
    bench.ledger.answer = () => {
      refusals += 1;
      throw new StatusError(status.UNAVAILABLE, 'it restarts');
    };
    const leave = new AbortController();
    const headers = { 'anthropic-beta': 'open' };
    const open = await bench.request('/anthropic/v1/messages', { method: 'POST', body: '{}', headers, signal: leave.signal });
    expect(open.status).toBe(200);
    await until(async () => refusals > 0 && (await bench.metric('dovecote_proxy_unadmitted_total')) === 1, 'a first try');
    bench.ledger.answer = answer;
    await until(() => bench.ledger.admitted.length === 2, 'the row');
    expect([bench.ledger.admitted[1]?.begun, bench.ledger.finished.length]).toEqual([true, 1]);
    leave.abort();
    await until(() => bench.ledger.finished.length === 2, 'its end');
  });

  test('does not concern what costs nothing', async () => {
    const url = await bench.upstream((_incoming, response) => response.end('{}'));
    bench.agent({ ...anthropic(url), budget: { tokens: 1 } });
    bench.ledger.answer = () => ({ admitted: false, sentence: 'no', retryAtMs: 0, headroom: undefined });
    expect((await post('{}', {}, '/anthropic/v1/messages/count_tokens')).status).toBe(200);
    expect((await bench.request('/anthropic/v1/models')).status).toBe(200);
  });
});

describe('who is refused', () => {
  test('a token of nobody, for another audience, of another agent, and none; a session whose agent is gone', async () => {
    const url = await bench.upstream((_incoming, response) => response.end('{}'));
    bench.agent(anthropic(url));
    for (const authorization of ['', 'Bearer ', 'Bearer other', 'Basic cG9kLXRva2Vu', `Bearer ${'x'.repeat(10_000)}`])
      expect((await post('{}', { authorization })).status).toBe(401);
    expect((await post('{}', { authorization: 'Bearer token-of-nobody' })).status).toBe(403);
    bench.forget();
    const response = await post();
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ error: { message: 'there is no AgentGroup for session s1' } });
    await bench.close();
    bench = await createProxyBench({
      reviewer: { review: async () => ({ type: 'session', session: 's1', podUid: 'p', agentGroup: 'another' }) },
    });
    bench.agent(anthropic(url));
    expect((await post()).status).toBe(401);
  });

  test('a token that has ended, which opened it a moment before', async () => {
    await bench.close();
    let now = Date.now();
    const tokens = new LocalTokens(Buffer.alloc(32, 1), { now: () => now });
    bench = await createProxyBench({ reviewer: tokens });
    bench.agent(anthropic(await bench.upstream((_incoming, response) => response.end('{}'))));
    const authorization = `Bearer ${tokens.issue({ type: 'session', session: 's1', podUid: 'p1' }, 'dovecote-proxy')}`;
    expect((await post('{}', { authorization })).status).toBe(200);
    now += 3_600_000;
    const ended = await post('{}', { authorization });
    expect([ended.status, ended.headers.get('x-dovecote-proxy')]).toEqual([401, 'refused']);
  });

  test('an agent whose Secret is missing, or holds what no header can carry: the sentence names it and shows nothing of it', async () => {
    bench.agent(anthropic('http://127.0.0.1:9'));
    bench.secrets.delete('anthropic');
    const response = await post();
    expect(response.status).toBe(403);
    expect(await response.json()).toEqual({
      type: 'error',
      error: { type: 'permission_error', message: 'Secret anthropic has no key api-key, which AgentGroup helper names' },
    });
    bench.secrets.set('anthropic', { 'api-key': 'half-a-key\r\nx-evil: 1' });
    const text = await (await post()).text();
    expect(text).toContain('holds what no HTTP header can carry');
    expect(text).not.toContain('half-a-key');
  });

  test.each([
    '/anthropic/v1/files',
    '/anthropic/v1/messages/../files',
    '/anthropic/v1/messages/%2e%2e/files',
    '/anthropic/v1/messages%2f..%2ffiles',
    '/anthropic/v1//messages',
    '//anthropic/v1/messages',
    '/anthropic/v1/messages?x=http://evil',
    '/anthropic/v1/messages#x',
    '/v1/messages',
    '/mcp/../anthropic/v1/messages',
    '*',
  ])('whoever asks for %s', async (path) => {
    let asked = 0;
    const url = await bench.upstream((_incoming, response) => {
      asked += 1;
      response.end('{}');
    });
    bench.agent(anthropic(url));
    const status = await raw(`POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\ncontent-length: 2\r\n\r\n{}`);
    expect(['400', '404']).toContain(status);
    expect(asked).toBe(0);
  });

  test.each([
    ['two lengths', 'content-length: 2\r\ncontent-length: 3'],
    ['a length and chunks', 'content-length: 2\r\ntransfer-encoding: chunked'],
    ['chunks that are none', 'transfer-encoding: xchunked'],
    ['a header beyond all measure', `x-large: ${'a'.repeat(100_000)}`],
    ['a folded header', 'x-a: b\r\n folded'],
  ])('whoever sends %s', async (_what, header) => {
    let asked = 0;
    const url = await bench.upstream((_incoming, response) => {
      asked += 1;
      response.end('{}');
    });
    bench.agent(anthropic(url));
    const status = await raw(`POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n${header}\r\n\r\n{}`);
    expect(['400', '431', '501']).toContain(status);
    expect(asked).toBe(0);
  });

  test('the absolute form of the route itself: it is a request through the proxy, and its host is not allowed', async () => {
    bench.agent(anthropic(await bench.upstream((_incoming, response) => response.end('{}'))));
    const basic = Buffer.from(`session:${TOKEN}`).toString('base64');
    const status = await raw(
      `POST http://${bench.proxy.address}/anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nproxy-authorization: Basic ${basic}\r\ncontent-length: 0\r\n\r\n`,
    );
    expect(status).toBe('403');
  });

  test('a session that has too much open', async () => {
    await bench.close();
    bench = await createProxyBench({ limits: { openPerSession: 2 } });
    const url = await bench.upstream((_incoming, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': on\n\n');
    });
    bench.agent(anthropic(url));
    const leave = new AbortController();
    for (let i = 0; i < 2; i++) await bench.request('/anthropic/v1/messages', { method: 'POST', body: '{}', signal: leave.signal });
    const third = await post();
    expect([third.status, third.headers.get('retry-after')]).toEqual([429, '1']);
    leave.abort();
    await until(async () => (await bench.metric('dovecote_proxy_open_requests', { route: 'model' })) === 0, 'room again');
  });
});

/** Status of what comes back for these very bytes. */
function raw(bytes: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(bench.proxy.address.split(':')[1]), '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.on('data', (chunk) => {
      text += String(chunk);
      const status = /^HTTP\/1\.1 (\d+)/.exec(text)?.[1];
      if (status === undefined) return;
      socket.destroy();
      resolve(status);
    });
    socket.once('error', reject);
    socket.once('close', () => resolve(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]));
  });
}

test('200 streams at once are carried whole, each to whom it belongs, and told', async () => {
  const url = await bench.upstream(async (incoming, response) => {
    const name = await bodyOf(incoming);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(START);
    let left = 20;
    const beat = setInterval(() => {
      response.write(event('content_block_delta', { text: `${name}/${left}` }));
      left -= 1;
      if (left > 0) return;
      clearInterval(beat);
      response.end(END);
    }, 20);
  });
  bench.agent(anthropic(url));
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const response = await post(`"stream-${i}"`, { authorization: `Bearer token-of-many-${i % 50}` });
      return response.text();
    }),
  );
  for (const [i, text] of answers.entries()) {
    const beats = Array.from({ length: 20 }, (_, left) => event('content_block_delta', { text: `"stream-${i}"/${20 - left}` })).join('');
    expect(text).toBe(START + beats + END);
  }
  await until(() => bench.ledger.finished.length === 200, 'the last end told');
  expect(bench.ledger.finished.every(({ complete, tokens }) => complete && tokens?.output === 34)).toBe(true);
});
