import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { verifies } from '@dovecote/e2e/verifies.ts';
import type { containerService } from '@dovecote/proto';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import type { TestCell } from '../testing/cell.ts';
import { McpCallTransport } from '../testing/mcp-call-transport.ts';
import { until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';
import { ServiceCaller } from '../testing/service-caller.ts';

const EVERYTHING = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js');
const running = new Running();
let cell: TestCell;
let caller: ServiceCaller;
beforeAll(async () => {
  cell = running.cell({
    agent: {
      mcpServers: [
        { name: 'everything', type: 'stdio', command: [process.execPath, EVERYTHING, 'stdio'], timeoutMs: 60_000 },
        { name: 'far', type: 'http', timeoutMs: 60_000 },
      ],
    },
  });
  caller = await ServiceCaller.of(running, cell);
  // What the agent has is known once its first projection was read.
  await until('the agent is known', () => caller.delivery.of('progress').length > 0);
});
afterAll(async () => {
  caller.close();
  await running.close();
});
const open = (start: Partial<containerService.McpStart>): McpCallTransport =>
  new McpCallTransport(caller.client.mcp(caller.metadata), start);
/** A server in a few lines of shell: `script` sees its requests on stdin. */
const server = (script: string, more: Partial<containerService.McpStart> = {}): McpCallTransport =>
  open({ command: ['sh', '-c', script], ...more });
const ended = (pid: number): boolean => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z');
const pidIn = async (name: string): Promise<number> => {
  const path = join(cell.workspace, name);
  await until(`${name} names a process`, () => existsSync(path) && readFileSync(path, 'utf8').endsWith('\n'));
  return Number(readFileSync(path, 'utf8'));
};

verifies(
  'pod/mcp-stdio-session',
  'the reference client speaks with a server of the agent: tools, progress, requests of the server, and one initialize',
  async () => {
    const transport = open({ server: 'everything' });
    const client = new Client({ name: 'outside', version: '1' }, { capabilities: { roots: { listChanged: true } } });
    let rootsAsked = 0;
    client.setRequestHandler(ListRootsRequestSchema, () => {
      rootsAsked += 1;
      return { roots: [] };
    });
    await client.connect(transport);
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toContain('echo');
    expect(await client.callTool({ name: 'echo', arguments: { message: 'a\nb "c" \u2028' } })).toMatchObject({
      content: [{ text: expect.stringContaining('a\nb "c" \u2028') }],
    });
    const progress: number[] = [];
    await client.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 0.2, steps: 4 } }, undefined, {
      onprogress: (step) => void progress.push(step.progress),
    });
    expect(progress.length).toBeGreaterThan(0);
    await until('the server asked the caller', () => rootsAsked > 0, 30_000);
    // A second initialize would have been answered a second time.
    expect(transport.received.filter((message) => 'result' in message && 'serverInfo' in message.result)).toHaveLength(1);
    await client.close();
    await until('it has ended', () => transport.exit !== undefined, 30_000);
    expect(transport.exit).toMatchObject({ reason: 'Ended' });
  },
);

verifies('pod/mcp-stdio-session', 'a caller that leaves takes the server with it, and all that it started', async () => {
  const transport = server('setsid sleep 1000 & echo $! > child; echo $$ > server; cat > /dev/null');
  await transport.start();
  const pids = [await pidIn('child'), await pidIn('server')];
  transport.cancel();
  await until('both have ended', () => pids.every(ended));
});

verifies(
  'pod/mcp-stdio-session',
  'a server that dies leaves no call open: each is answered with an error of its id, then comes why',
  async () => {
    const transport = server('read one; read two; read three; echo "no such luck" >&2; kill -9 $$');
    await transport.start();
    transport.say('{"jsonrpc":"2.0","id":1,"method":"tools/call"}');
    transport.say('{"jsonrpc":"2.0",\n\r "id":"two","method":"tools/call"}');
    transport.say('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}');
    await until('it has ended', () => transport.exit !== undefined, 30_000);
    expect(transport.received).toEqual([
      { jsonrpc: '2.0', id: 'two', error: { code: -32_000, message: 'the MCP server ended before it answered (Crashed)' } },
    ]);
    expect(transport.exit).toEqual({ code: -1, signal: 'SIGKILL', reason: 'Crashed', stderrTail: 'no such luck\n' });
  },
);

verifies(
  'pod/mcp-stdio-session',
  'a server that says what is no message is ended, as is one whose line never ends, and one that nobody speaks with',
  async () => {
    const request = '{"jsonrpc":"2.0","id":1,"method":"x"}';
    const malformed = [
      'read x; echo "Listening on stdio!"; sleep 1000',
      `read x; echo '[${request}]'; sleep 1000`,
      `read x; echo '{"id":1,"result":{}}'; sleep 1000`,
      `read x; printf '{"jsonrpc":"2.0","id":1,"result":"\\377"}\\n'; sleep 1000`,
      'read x; while :; do printf xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done | cat; sleep 1000',
    ];
    for (const script of malformed) {
      const transport = server(script);
      await transport.start();
      transport.say(request);
      await until(`it has ended: ${script}`, () => transport.exit !== undefined, 30_000);
      expect([transport.received, transport.exit?.reason]).toMatchObject([[{ id: 1, error: {} }], 'Malformed']);
    }
    const idle = server('cat > /dev/null', { idleTimeoutMs: 200 });
    await idle.start();
    await until('it has ended', () => idle.exit !== undefined, 30_000);
    expect(idle.exit?.reason).toBe('Idle');
  },
);

test('a server that floods a caller who does not read waits for it, and nothing is lost', async () => {
  writeFileSync(
    join(cell.workspace, 'flood.sh'),
    'i=0; while [ $i -lt 20000 ]; do echo "{\\"jsonrpc\\":\\"2.0\\",\\"method\\":\\"n\\",\\"params\\":{\\"i\\":$i}}"; i=$((i+1)); done',
  );
  const call = caller.client.mcp(caller.metadata);
  call.write({ part: { $case: 'start', value: { server: '', command: ['sh', 'flood.sh'], env: {}, idleTimeoutMs: 0 } } });
  let count = 0;
  let exit: containerService.McpExit | undefined;
  for await (const { part } of call as AsyncIterable<containerService.McpResponse>) {
    if (part?.$case === 'message') expect((JSON.parse(part.value) as { params: { i: number } }).params.i).toBe(count++);
    else exit = part?.value;
  }
  expect([count, exit?.reason, exit?.code]).toEqual([20_000, 'Ended', 0]);
});

test('what cannot be opened is refused with a sentence', async () => {
  const refused = async (start: Partial<containerService.McpStart>, message?: string): Promise<McpCallTransport['failure']> => {
    const transport = open(start);
    await transport.start();
    if (message !== undefined) transport.say(message);
    await until('it is refused', () => transport.failure !== undefined, 30_000);
    return transport.failure;
  };
  expect(await refused({})).toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(await refused({ server: 'everything', command: ['x'] })).toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(await refused({ server: 'nobody' })).toMatchObject({ code: status.NOT_FOUND, details: 'the agent has no MCP server nobody' });
  expect(await refused({ server: 'far' })).toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(await refused({ command: ['no-such-server'] })).toMatchObject({ code: status.NOT_FOUND });
  expect(await refused({ command: ['cat'] }, 'hello')).toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(await refused({ command: ['cat'] }, '[]')).toMatchObject({ code: status.INVALID_ARGUMENT });
});
