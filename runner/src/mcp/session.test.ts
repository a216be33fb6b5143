/** MCP servers of the real runner process over a real cell. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { emulatedModel } from '../providers/anthropic/emulated-model.ts';
import type { TestCell } from '../testing/cell.ts';
import { until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';
import { scripted } from './testing/test-servers.ts';

const PATIENCE_MS = 90_000;
const running = new Running();
afterEach(() => running.close());

const answered = (cell: TestCell, text: string): Promise<void> =>
  until(`an answer has ${text}`, () => cell.texts().some((sent) => sent.includes(text)), PATIENCE_MS);
const answer = (cell: TestCell, start: string): string => cell.texts().find((text) => text.startsWith(start)) ?? '';
const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe('a session with MCP servers', () => {
  test('begins its first turn without one that hangs; tools that change within a turn are there in its next step', async () => {
    const cell = running.cell({ agent: { mcpServers: [scripted('asleep', 'hang-initialize'), scripted('house')] } });
    cell.say('tool mcp__house__change\ntool mcp__house__new\nsay new: {result}\n');
    const runner = running.start(cell);
    await answered(cell, 'new: ');
    expect(answer(cell, 'new: ')).toContain('Unknown tool: new'); // the server's own words: the call went to it
    // The server that hangs has 60 s for its start: nobody waited until it was given up.
    expect(runner.log).not.toContain('an MCP server is not there');
  });

  test('takes new settings while it is awake, and ends its servers with itself', async () => {
    const cell = running.cell({ agent: { mcpServers: [scripted('kept')] } });
    cell.say('tool mcp__kept__processes\nsay first: {result}');
    const runner = running.start(cell, ['--log-level', 'info']);
    await answered(cell, 'first: ');
    const pids = JSON.parse(answer(cell, 'first: ').slice('first: '.length)) as number[];
    cell.setAgent({ mcpServers: [scripted('added'), scripted('kept')] });
    // No turn runs meanwhile, and nothing waits for one.
    await until('the added server is up', () => /"server":"added".*an MCP server is up/.test(runner.log), PATIENCE_MS);
    cell.say('tool mcp__added__echo\nsay added: {result}');
    await answered(cell, 'added: echo');
    cell.say('tool mcp__kept__surroundings\nsay kept: {result}');
    await answered(cell, 'kept: {');
    expect(alive(pids[0] ?? 0)).toBe(true); // the very process of before
    expect(await runner.drain()).toEqual({ code: 0, signal: null });
    await until('all of it is gone', () => pids.filter(alive).length === 0, PATIENCE_MS);
  });

  test('stops a call with the turn, and the server learns of it', async () => {
    const cell = running.cell({ agent: { mcpServers: [scripted('house')] } });
    cell.say('tool mcp__house__hang\nsay never');
    running.start(cell);
    await until('the call has come', () => existsSync(join(cell.workspace, 'hanging')), PATIENCE_MS);
    cell.say('/stop', { lane: 'control' });
    await answered(cell, 'topped');
    cell.say('tool mcp__house__cancelled\nsay cancelled: {result}');
    await answered(cell, 'cancelled: [');
    expect(JSON.parse(answer(cell, 'cancelled: ').slice('cancelled: '.length))).toHaveLength(1);
  });

  test('killed in a call goes on in the next process: what may be run twice is, the rest is told to be interrupted', async () => {
    const cell = running.cell({ agent: { mcpServers: [scripted('house')] } });
    cell.say('tool mcp__house__echo {"n":1}\nsay echo: {result}');
    const first = running.start(cell, ['--crash-at', 'runner/mid-step#1']);
    await first.ended;
    running.start(cell);
    await answered(cell, 'echo: echo {"n":1}');

    const other = running.cell({ agent: { mcpServers: [scripted('house')] } });
    other.say('tool mcp__house__big\nsay big: {result}');
    const second = running.start(other, ['--crash-at', 'runner/mid-step#1']);
    await second.ended;
    running.start(other);
    await answered(other, 'big: Interrupted');
  });

  test('tells the model which tools there are, with the schemas as they came, and which servers are missing, and why', async () => {
    const model = await emulatedModel();
    try {
      const absent = { ...scripted('absent'), command: ['no-such-program'] };
      const cell = running.cell({ agent: { provider: 'anthropic', mcpServers: [absent, scripted('house')], tools: ['read_file'] } });
      cell.say('say hello');
      running.start(cell, ['--proxy', model.proxy.url, '--proxy-token', model.tokenFile]);
      await answered(cell, 'Hello from the mock.');
      const body = model.proxy.seen.map((request) => request.body).find((asked) => 'tools' in asked) ?? {};
      const tools = body['tools'] as { name: string; input_schema: unknown }[];
      const names = tools.map(({ name }) => name);
      expect(names).toEqual([...names].sort());
      expect(names.filter((name) => !name.startsWith('mcp__'))).toEqual(['read_file']); // the agent's list is about its own tools
      expect(tools.find(({ name }) => name === 'mcp__house__echo')?.input_schema).toEqual({ type: 'object' });
      expect(JSON.stringify(body['system'])).toContain(
        '- The MCP server absent cannot be started: no-such-program: there is no such program.',
      );
    } finally {
      await model.close();
    }
  });
});
