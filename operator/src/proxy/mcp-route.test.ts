import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { bodyOf, createProxyBench, type ProxyBench, until } from './testing/proxy-bench.ts';

let bench: ProxyBench;
beforeEach(async () => {
  bench = await createProxyBench();
});
afterEach(() => bench.close());

const tickets = (url: string, headers: object[] = [{ name: 'Authorization', prefix: 'Bearer ', secretRef: { name: 'tickets' } }]) => ({
  mcpServers: [
    { name: 'tickets', type: 'http' as const, http: { url, headers: headers as [] } },
    { name: 'files', type: 'stdio' as const, stdio: { command: ['files'] } },
  ],
});

test('an MCP server gets its credential, the headers of the protocol and nothing else; both ways stream', async () => {
  const seen: { method: string | undefined; url: string | undefined; headers: object; body: string }[] = [];
  const url = await bench.upstream(async (incoming, response) => {
    seen.push({ method: incoming.method, url: incoming.url, headers: incoming.headers, body: await bodyOf(incoming) });
    response.writeHead(200, { 'content-type': 'text/event-stream', 'mcp-session-id': 'm1', 'set-cookie': 'a=b' });
    response.write('id: 1\ndata: {}\n\n');
    if (incoming.method !== 'GET') response.end();
  });
  bench.secrets.set('tickets', { token: 'the-token\n' });
  bench.agent(tickets(`${url}/v1/mcp`));
  const sent = {
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'mcp-session-id': 'm1',
    'mcp-protocol-version': '2025-11-25',
    'last-event-id': '7',
    cookie: 'a=b',
  };
  const answer = await bench.request('/mcp/tickets', { method: 'POST', body: '{"jsonrpc":"2.0"}', headers: sent });
  expect(answer.headers.get('mcp-session-id')).toBe('m1');
  expect(answer.headers.get('set-cookie')).toBeNull();
  expect(await answer.text()).toBe('id: 1\ndata: {}\n\n');
  expect(seen[0]).toMatchObject({ method: 'POST', url: '/v1/mcp', body: '{"jsonrpc":"2.0"}' });
  const { cookie: _cookie, ...passed } = sent;
  expect(seen[0]?.headers).toMatchObject({ ...passed, authorization: 'Bearer the-token' });
  expect(seen[0]?.headers).not.toHaveProperty('cookie');

  const leave = new AbortController();
  const stream = await bench.request('/mcp/tickets', { headers: sent, signal: leave.signal });
  const first = await stream.body?.getReader().read();
  expect(Buffer.from(first?.value ?? []).toString()).toBe('id: 1\ndata: {}\n\n');
  leave.abort();
  expect((await bench.request('/mcp/tickets', { method: 'DELETE', headers: sent })).status).toBe(200);
  expect(seen.map(({ method }) => method)).toEqual(['POST', 'GET', 'DELETE']);
  await until(async () => (await bench.metric('dovecote_proxy_open_requests', { route: 'mcp' })) === 0, 'the end of the stream');
});

test('a server without its Secret is refused, and only that one', async () => {
  const url = await bench.upstream((_incoming, response) => response.end('{}'));
  bench.agent({ mcpServers: [...tickets(url).mcpServers, { name: 'open', type: 'http', http: { url } }] });
  const refused = await bench.request('/mcp/tickets', { method: 'POST', body: '{}' });
  expect([refused.status, refused.headers.get('x-dovecote-proxy')]).toEqual([403, 'refused']);
  expect(await refused.text()).toContain('Secret tickets has no key token, which MCP server tickets of AgentGroup helper names');
  expect((await bench.request('/mcp/open', { method: 'POST', body: '{}' })).status).toBe(200);
});

test.each([
  ['POST', '/mcp/unknown', 404],
  ['POST', '/mcp/files', 404],
  ['POST', '/mcp/tickets/', 404],
  ['POST', '/mcp/tickets/more', 404],
  ['POST', '/mcp/tickets?x=1', 404],
  ['POST', '/mcp/tickets%2f..', 404],
  ['POST', '/mcp/%74ickets', 404],
  ['POST', '/mcp/', 404],
  ['PUT', '/mcp/tickets', 405],
])('%s %s is not served: %d', async (method, path, status) => {
  let asked = 0;
  const url = await bench.upstream((_incoming, response) => {
    asked += 1;
    response.end();
  });
  bench.secrets.set('tickets', { token: 't' });
  bench.agent(tickets(url));
  const response = await bench.request(path, { method, body: '{}' });
  expect([response.status, asked]).toEqual([status, 0]);
});

test('a redirect is not followed with a credential in hand, and a header that frames messages is not set', async () => {
  const url = await bench.upstream((_incoming, response) => {
    response.writeHead(302, { location: 'http://127.0.0.1:9/' });
    response.end();
  });
  bench.secrets.set('tickets', { token: 't' });
  bench.agent(tickets(url));
  const redirected = await bench.request('/mcp/tickets', { method: 'POST', body: '{}' });
  expect([redirected.status, redirected.headers.get('location')]).toEqual([502, null]);
  bench.agent(tickets(url, [{ name: 'Transfer-Encoding', secretRef: { name: 'tickets' } }]));
  expect(await (await bench.request('/mcp/tickets', { method: 'POST', body: '{}' })).text()).toContain(
    'may not set the header Transfer-Encoding',
  );
});
