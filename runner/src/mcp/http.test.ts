import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { until } from '../testing/runner-process.ts';
import { EverythingOverHttp } from './testing/everything.ts';
import { type ScriptedProxy, startScriptedProxy } from './testing/scripted-proxy.ts';
import { remote, TestServers } from './testing/test-servers.ts';

const PATIENCE_MS = 60_000;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function house(deps: ConstructorParameters<typeof TestServers>[0] = {}): Promise<{ it: TestServers; proxy: ScriptedProxy }> {
  const proxy = await startScriptedProxy('pod-token');
  const it = new TestServers(deps, proxy);
  closing.push(
    () => proxy.close(),
    () => it.close(),
  );
  return { it, proxy };
}

async function everything(): Promise<EverythingOverHttp> {
  const server = await EverythingOverHttp.start();
  closing.push(() => server.kill());
  return server;
}

/** Answers initialize and tools/list, and leaves the rest to `onCall`. */
function scriptedHttp(
  onCall: (response: ServerResponse, id: number) => void,
): (request: IncomingMessage, response: ServerResponse) => void {
  return async (request, response) => {
    if (request.method !== 'POST') return void response.writeHead(405).end();
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const { id, method } = JSON.parse(body) as { id: number; method: string };
    const json = (result: object): void => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }));
    };
    if (method === 'initialize')
      json({ protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } });
    else if (method === 'tools/list') json({ tools: [{ name: 'try', inputSchema: { type: 'object' } }] });
    else if (method === 'ping') json({});
    else if (method === 'tools/call') onCall(response, id);
    else response.writeHead(202).end();
  };
}

function tell(response: ServerResponse, id: number, text: string): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } }));
}

/** From now on the built-in fetch breaks off whoever is silent for a moment, as it does by itself after five minutes. */
function hastyBuiltIn(): void {
  const patient = globalThis.fetch;
  globalThis.fetch = (target, init) =>
    patient(target, { ...init, signal: AbortSignal.any([AbortSignal.timeout(500), ...(init?.signal ? [init.signal] : [])]) });
  closing.push(async () => {
    globalThis.fetch = patient;
  });
}

describe('a server behind the proxy', () => {
  test('is reached by its name with the token of the moment', async () => {
    const { it, proxy } = await house();
    proxy.targets.set('reference', (await everything()).url);
    await it.apply(remote('reference'));
    expect(await it.use('mcp__reference__echo', { message: 'one' })).toEqual({ text: 'Echo: one', isError: false });
    proxy.token = 'second-token';
    it.setToken('second-token');
    expect(await it.use('mcp__reference__echo', { message: 'two' })).toEqual({ text: 'Echo: two', isError: false });
  });

  test('that was restarted has forgotten the session: a new one is begun, and the call made once', async () => {
    const { it, proxy } = await house();
    const server = await everything();
    proxy.targets.set('reference', server.url);
    await it.apply(remote('reference'));
    await server.kill();
    await server.start();
    expect(await it.use('mcp__reference__echo', { message: 'again' })).toEqual({ text: 'Echo: again', isError: false });
  });

  test('that forgets the session without a word is asked again once, in a new one', async () => {
    const { it, proxy } = await house();
    let known = false;
    let calls = 0;
    const answers = scriptedHttp((response, id) => {
      calls += 1;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: `call ${calls}` }] } }));
    });
    proxy.targets.set('forgetful', (request, response) => {
      known ||= request.headers['mcp-protocol-version'] === undefined; // a client names the version in all but its first request
      if (known) answers(request, response);
      else response.writeHead(404).end();
    });
    await it.apply(remote('forgetful'));
    expect((await it.use('mcp__forgetful__try')).text).toBe('call 1');
    known = false;
    expect(await it.use('mcp__forgetful__try')).toEqual({ text: 'call 2', isError: false });
  });

  test('that is gone is reported and tried again until it is back', async () => {
    const { it, proxy } = await house();
    const server = await everything();
    proxy.targets.set('reference', server.url);
    await it.apply(remote('reference'));
    await server.kill();
    await until('its end is noticed without a call', () => it.lines('an MCP server is not there').length > 0, PATIENCE_MS);
    expect(it.lines('an MCP server is not there')[0]?.['reason']).toBe('answers with HTTP 502: the server cannot be reached');
    expect(it.names).toContain('mcp__reference__echo');
    await server.start();
    await until('it is back', () => it.lines('an MCP server is up').length === 2, PATIENCE_MS);
    expect(await it.use('mcp__reference__echo', { message: 'back' })).toEqual({ text: 'Echo: back', isError: false });
  });

  test('whose tools change says so on its own stream', async () => {
    const { it, proxy } = await house();
    const server = new McpServer({ name: 'changing', version: '1' });
    server.registerTool('first', {}, () => {
      server.registerTool('second', {}, () => ({ content: [{ type: 'text', text: 'the second' }] }));
      return { content: [{ type: 'text', text: 'the first' }] };
    });
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => 'only' });
    await server.connect(transport);
    const listening = createServer((request, response) => void transport.handleRequest(request, response));
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
    closing.push(async () => {
      await server.close();
      listening.closeAllConnections();
      listening.close();
    });
    proxy.targets.set('changing', `http://127.0.0.1:${(listening.address() as AddressInfo).port}/`);
    await it.apply(remote('changing'));
    expect(it.names).toEqual(['mcp__changing__first']);
    expect((await it.use('mcp__changing__first')).text).toBe('the first');
    await until('the second is there', () => it.names.includes('mcp__changing__second'), PATIENCE_MS);
    expect((await it.use('mcp__changing__second')).text).toBe('the second');
  });

  test.each([
    ['refuses the token', 'may not be used (HTTP 401: show a token of this session)'],
    ['does not know it', 'answers with HTTP 404: no such server'],
    ['is not there', 'cannot be reached (ECONNREFUSED)'],
    ['is led elsewhere', 'answers with HTTP 307'],
    ['gets a page', 'answers with something that is not MCP: Unexpected content type: text/html'],
  ])('for which the client %s is missing, with the reason', async (how, reason) => {
    const { it, proxy } = await house();
    const elsewhere: string[] = [];
    proxy.targets.set('elsewhere', (request, response) => {
      elsewhere.push(request.url ?? '');
      response.end();
    });
    if (how === 'refuses the token') it.setToken('of another pod');
    if (how === 'is not there') await proxy.close();
    if (how === 'is led elsewhere')
      proxy.targets.set('remote', (_, response) => void response.writeHead(307, { location: '/mcp/elsewhere' }).end());
    if (how === 'gets a page')
      proxy.targets.set('remote', (_, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>'));
    await it.apply(remote('remote'));
    expect(it.servers.missing).toEqual([`The MCP server remote ${reason}.`]);
    expect(elsewhere).toEqual([]);
  });

  test('of a runner without a proxy is missing', async () => {
    const it = new TestServers();
    closing.push(() => it.close());
    await it.apply(remote('remote'));
    expect(it.servers.missing).toEqual(['The MCP server remote needs the proxy, which this runner was not given.']);
  });

  test('may be silent for as long as its timeout says, whatever the client that is built in would allow', async () => {
    const { it, proxy } = await house();
    hastyBuiltIn();
    const late = scriptedHttp((response, id) => void setTimeout(() => tell(response, id, 'at last'), 2_500));
    proxy.targets.set('slow', late);
    await it.apply(remote('slow'));
    expect(await it.use('mcp__slow__try')).toEqual({ text: 'at last', isError: false });
  });

  test('that never answers loses the call by its timeout, and then the connection', async () => {
    const { it, proxy } = await house({ limits: { startMs: 3_000, pingMs: 10_000 } });
    let gone = false;
    const mute = scriptedHttp((response) => {
      response.once('close', () => {
        gone = true;
      });
    });
    proxy.targets.set('mute', mute);
    await it.apply(remote('mute', { timeoutMs: 300 }));
    expect((await it.use('mcp__mute__try')).text).toContain('did not answer in time');
    await until('its connection is taken back', () => gone, PATIENCE_MS);
    expect(it.names).toEqual(['mcp__mute__try']); // it answers pings: it is still there
  });

  test.each([
    ['one answer without end', 'application/json', '{"jsonrpc":"2.0","result":{"content":[],"x":"'],
    ['one event without end', 'text/event-stream', 'data: {"jsonrpc":"2.0","result":{"content":[],"x":"'],
  ])('that sends %s is given up, and begun anew', async (_, type, head) => {
    const { it, proxy } = await house();
    let flooding = true;
    proxy.targets.set(
      'flood',
      scriptedHttp((response, id) => {
        if (!flooding) {
          response.writeHead(200, { 'content-type': 'application/json' });
          response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'calm' }] } }));
          return;
        }
        response.writeHead(200, { 'content-type': type }).write(head);
        const more = (): void => {
          while (!response.destroyed && response.write('x'.repeat(64 * 1024))) {}
        };
        response.on('drain', more);
        more();
      }),
    );
    await it.apply(remote('flood'));
    expect(await it.use('mcp__flood__try')).toEqual({
      text: 'The MCP server flood was given up because it sent a message longer than 16 MiB. Whether the call had an effect is not known.',
      isError: true,
    });
    flooding = false;
    expect(await it.use('mcp__flood__try')).toEqual({ text: 'calm', isError: false });
  });

  test('that sends many events in one stream is none the less heard', async () => {
    const { it, proxy } = await house();
    proxy.targets.set(
      'busy',
      scriptedHttp((response, id) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const notification = JSON.stringify({
          jsonrpc: '2.0',
          method: 'notifications/message',
          params: { level: 'info', data: 'x'.repeat(60_000) },
        });
        for (let n = 0; n < 400; n += 1) response.write(`event: message\r\ndata: ${notification}\r\n\r\n`);
        const answer = JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'heard' }] } });
        response.end(`data: ${answer}\n\n`);
      }),
    );
    await it.apply(remote('busy'));
    expect(await it.use('mcp__busy__try')).toEqual({ text: 'heard', isError: false }); // 24 MiB, in small pieces
  });
});
