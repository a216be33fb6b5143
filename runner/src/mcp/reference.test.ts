/** The client against what others wrote: the protocol's reference server, and its public conformance suite for clients. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { EVERYTHING, EverythingOverHttp } from './testing/everything.ts';
import { type ScriptedProxy, startScriptedProxy } from './testing/scripted-proxy.ts';
import { remote, scripted, TestServers } from './testing/test-servers.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function overStdio(): Promise<TestServers> {
  const it = new TestServers();
  closing.push(() => it.close());
  await it.apply({ ...scripted('reference'), command: [process.execPath, EVERYTHING, 'stdio'] });
  return it;
}

async function overHttp(): Promise<TestServers> {
  const server = await EverythingOverHttp.start();
  const proxy: ScriptedProxy = await startScriptedProxy('pod-token');
  proxy.targets.set('reference', server.url);
  const it = new TestServers({}, proxy);
  closing.push(
    () => server.kill(),
    () => proxy.close(),
    () => it.close(),
  );
  await it.apply(remote('reference'));
  return it;
}

describe.each([
  ['stdio', overStdio],
  ['streamable HTTP', overHttp],
])('the reference server over %s', (transport, start) => {
  test('is understood in each of its tools', async () => {
    const it = await start();
    const use = async (tool: string, input: object = {}): Promise<string> => {
      const { text, isError } = await it.use(`mcp__reference__${tool}`, input);
      expect([tool, isError]).toEqual([tool, false]);
      return text;
    };
    expect(it.servers.missing).toEqual([]);
    expect(it.lines('a tool of an MCP server is left out')).toMatchObject([
      { tool: 'simulate-research-query', fault: 'it only works as a task of its own' },
    ]);
    expect(await use('echo', { message: 'hello' })).toBe('Echo: hello');
    expect(await use('get-sum', { a: 2, b: 3 })).toBe('The sum of 2 and 3 is 5.');
    expect(await use('trigger-long-running-operation', { duration: 1, steps: 4 })).toContain('Long running operation completed');
    expect(await use('get-tiny-image')).toMatch(/\(image, image\/png, about \d+ bytes: not shown\)/);
    expect(await use('get-structured-content', { location: 'Chicago' })).toMatch(
      /^\{"temperature":36,"conditions":"[^"]+","humidity":82\}$/,
    );
    expect(await use('get-annotated-message', { messageType: 'error', includeImage: true })).toContain('Error: Operation failed');
    expect(await use('get-resource-links', { count: 2 })).toMatch(/\(resource demo:\/\/resource\/dynamic\/\w+\/\d/);
    expect(await use('get-resource-reference', { resourceType: 'Text', resourceId: 1 })).toContain(
      '(resource demo://resource/dynamic/text/1',
    );
    const wrong = await it.use('mcp__reference__get-sum', { a: 'two' });
    expect(wrong).toMatchObject({ isError: true, text: expect.stringContaining('-32602') });
    // Offered only to clients that would answer: neither the model nor people are asked by a server.
    expect(it.names.filter((name) => /sampling|elicitation/.test(name))).toEqual([]);
    const roots = it.names.includes('mcp__reference__get-roots-list') ? await use('get-roots-list') : 'not offered';
    expect(roots).toContain(transport === 'stdio' ? `file://${it.workspace}` : 'not offered');
  });
});

describe('the public conformance suite for clients', () => {
  const suite = join(EVERYTHING, '../../../conformance/dist/index.js');
  const client = join(import.meta.dirname, 'testing/conformance-client.ts');

  test.each([
    ['initialize', '1/1'],
    ['tools_call', '1/1'],
    ['sse-retry', '3/3'],
  ])('is passed in its scenario %s', async (scenario, passed) => {
    const results = mkdtempSync(join(tmpdir(), 'dovecote-conformance-'));
    closing.push(async () => rmSync(results, { recursive: true, force: true }));
    const args = [
      suite,
      'client',
      '--command',
      `${process.execPath} ${client}`,
      '--scenario',
      scenario,
      '--timeout',
      '90000',
      '-o',
      results,
    ];
    const said = await new Promise<string>((resolve) => {
      execFile(process.execPath, args, { env: { PATH: process.env['PATH'] ?? '', HOME: results } }, (_, stdout, stderr) =>
        resolve(stdout + stderr),
      );
    });
    expect(said).toContain(`Passed: ${passed}, 0 failed, 0 warnings`);
  });
});
