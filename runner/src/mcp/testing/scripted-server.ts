/**
 * An MCP server over stdio that does what no server should, each on request: written without the SDK, so that it can. For tests only.
 * Run as `node scripted-server.ts <mode>`.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

interface Message {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: {
    readonly name?: string;
    readonly arguments?: Record<string, unknown>;
    readonly _meta?: { progressToken?: number };
    requestId?: number;
  };
  readonly result?: unknown;
  readonly error?: { readonly code: number };
}

const mode = process.argv[2] ?? 'good';
const write = (message: object): boolean => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const answer = (id: Message['id'], text: string, more: object = {}): boolean =>
  write({ id, result: { content: [{ type: 'text', text }], ...more } });
const tool = (name: string, more: object = {}): object => ({ name, description: `does ${name}`, inputSchema: { type: 'object' }, ...more });

const asked = new Map<number, Message['id']>();
const cancelled: number[] = [];
let changed = false;
let listings = 0;

function tools(): object[] {
  if (mode === 'broken-tools')
    return [
      tool('fine'),
      tool('array_schema', { inputSchema: { type: 'array' } }),
      tool('no_schema', { inputSchema: null }),
      tool('bad_keyword', { inputSchema: { type: 'object', properties: { a: { type: 'strnig' } } } }),
      tool('odd_input', { inputSchema: { type: 'object', properties: { 'a b/c': {} } } }),
      tool('one_of', { inputSchema: { type: 'object', oneOf: [{}] } }),
      tool('huge', { inputSchema: { type: 'object', description: 'x'.repeat(100_000) } }),
      tool('deep', { inputSchema: { type: 'object', not: JSON.parse(`${'{"not":'.repeat(3_000)}{}${'}'.repeat(3_000)}`) } }),
      tool('bad_output', { outputSchema: { type: 'object', properties: { a: { type: 'strnig' } } } }),
      tool('fine'),
      { description: 'has no name', inputSchema: { type: 'object' } },
      42 as unknown as object,
    ];
  const names = [
    'echo',
    'hang',
    'die',
    'flood',
    'long_line',
    'malformed',
    'change',
    'slow',
    'cancelled',
    'listings',
    'ask',
    'processes',
    'surroundings',
    'big',
    'pictures',
    'fail',
    'pings',
  ];
  return [
    tool(changed ? 'new' : 'old'),
    ...names.map((name) => tool(name, name === 'echo' ? { annotations: { readOnlyHint: true } } : {})),
    tool('needs a cleaner-name.1'),
  ];
}

const calls: Record<string, (id: Message['id'], args: Record<string, unknown>, message: Message) => unknown> = {
  echo: (id, args) => answer(id, `echo ${JSON.stringify(args)}`),
  hang: () => writeFileSync('hanging', ''), // for a test that must know that the call has come
  die: () => {
    process.stderr.write('\u001b[31mit broke\n  for a reason\n');
    process.exit(7);
  },
  flood: () => {
    const notification =
      `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x' } })}\n`.repeat(500);
    const more = (): void => {
      while (process.stdout.write(notification)) {}
      process.stdout.once('drain', more);
    };
    more();
  },
  long_line: () => {
    process.stdout.write('{"jsonrpc":"2.0","method":"');
    const piece = 'x'.repeat(1024 * 1024);
    let left = 100;
    const more = (): void => {
      while (left > 0 && process.stdout.write(piece)) left -= 1;
      if (left > 0) process.stdout.once('drain', more);
    };
    more();
  },
  malformed: () => process.stdout.write('{"jsonrpc": oops}\n'),
  change: (id) => {
    changed = true;
    write({ method: 'notifications/tools/list_changed' });
    answer(id, 'changed');
  },
  slow: async (id, args, { params }) => {
    for (let n = 1; n <= Number(args['times']); n += 1) {
      await new Promise((resolve) => setTimeout(resolve, Number(args['ms'])));
      write({ method: 'notifications/progress', params: { progressToken: params?._meta?.progressToken, progress: n } });
    }
    answer(id, 'slow but done');
  },
  listings: (id) => answer(id, String(listings)),
  cancelled: (id) => answer(id, JSON.stringify(cancelled)),
  ask: (id, args) => {
    const own = 1000 + asked.size;
    asked.set(own, id);
    write({ id: own, method: String(args['method']), params: args['params'] ?? {} });
  },
  processes: (id) => answer(id, JSON.stringify([process.pid, spawn('sleep', ['1000'], { stdio: 'inherit' }).pid])),
  surroundings: (id) => answer(id, JSON.stringify({ cwd: process.cwd(), env: process.env })),
  big: (id) => answer(id, `begin ${'x'.repeat(1024 * 1024)} end`),
  pictures: (id) =>
    write({
      id,
      result: {
        content: [
          { type: 'text', text: 'look:' },
          { type: 'image', mimeType: 'image/png', data: 'A'.repeat(400) },
          { type: 'audio', mimeType: 'audio/wav', data: 'A'.repeat(40) },
          { type: 'resource_link', uri: 'file:///a', name: 'a', mimeType: 'text/plain' },
          { type: 'resource', resource: { uri: 'file:///b', mimeType: 'text/plain', text: 'what b says' } },
          { type: 'resource', resource: { uri: 'file:///c', blob: 'AAAA' } },
          { type: 'hologram', data: 1 },
          'no object',
        ],
        structuredContent: { temperature: 21 },
      },
    }),
  fail: (id) => answer(id, 'the tool says no', { isError: true }),
  pings: (id) => {
    for (let n = 0; n < 100; n += 1) write({ id: `p${n}`, method: 'ping' });
    answer(id, 'pinged');
  },
};

function onMessage(message: Message): void {
  const { id, method, params } = message;
  switch (method) {
    case 'initialize':
      if (mode === 'hang-initialize') return;
      write({
        id,
        result: {
          protocolVersion: '2025-06-18',
          capabilities: { tools: { listChanged: true } },
          serverInfo: { name: 'scripted', version: '1' },
        },
      });
      return;
    case 'tools/list':
      listings += 1;
      write({ id, result: { tools: tools() } });
      if (mode === 'storm') write({ method: 'notifications/tools/list_changed' });
      return;
    case 'notifications/cancelled':
      if (params?.requestId !== undefined) cancelled.push(params.requestId);
      return;
    case 'ping':
      if (mode !== 'no-ping') write({ id, result: {} });
      return;
    case 'tools/call': {
      const run = calls[params?.name ?? ''];
      if (run === undefined) write({ id, error: { code: -32602, message: `Unknown tool: ${params?.name}` } });
      else run(id, params?.arguments ?? {}, message);
      return;
    }
    case undefined: {
      const waiting = asked.get(Number(id));
      if (waiting !== undefined) answer(waiting, JSON.stringify(message.error ?? message.result));
      return;
    }
    default:
      return;
  }
}

if (mode === 'die-at-start') {
  process.stderr.write('no licence found\n');
  process.exit(3);
}
if (mode === 'banner') process.stdout.write('Welcome to the scripted server\n\n');
if (mode === 'chatter') for (let n = 0; n < 30; n += 1) process.stdout.write(`log line ${n}\n`);
createInterface({ input: process.stdin }).on('line', (line) => onMessage(JSON.parse(line) as Message));
