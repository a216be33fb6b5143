/**
 * What the path of a message costs when nothing is on it but its hops: a gateway, a delivery and a runner for each chat, the contracts'
 * own messages, four durable commits, no permission, no ledger, no restart. Dovecote's figure beside this one tells what its promises
 * cost on the machine at hand.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { attach, inbox, platform } from '@dovecote/proto';
import { credentials, Metadata, Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import Sqlite from 'better-sqlite3';
import fastify from 'fastify';

const SECRET = 'floor';
const [, , role, folder = '', peer = '', url = ''] = process.argv;

const NO_EVENT = {
  kind: inbox.InboundKind.CHAT,
  lane: inbox.Lane.CHAT,
  channel: 'c',
  chat: 'c',
  thread: '',
  sender: 'u',
  senderName: 'u',
  platformMessageId: '',
  attachments: [],
  quoted: undefined,
  receivedAtMs: 0,
  traceparent: '',
  attachmentErrors: [],
} as const;

function open(cell: string, name: string, readonly = false): Sqlite.Database {
  const db = new Sqlite(join(cell, name), readonly ? { readonly, fileMustExist: true, timeout: 5_000 } : { timeout: 5_000 });
  if (readonly) return db;
  db.pragma('journal_mode = PERSIST');
  db.pragma('synchronous = FULL');
  db.exec('CREATE TABLE IF NOT EXISTS t (seq INTEGER PRIMARY KEY, kind TEXT, content TEXT)');
  return db;
}

function serve(server: Server): Promise<number> {
  return new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (e, port) => (e ? reject(e) : resolve(port))),
  );
}

const ready = (value: unknown): void => void process.stdout.write(`${String(value)}\n`);

/** Platform call and webhook; `peer` comes on stdin, as delivery starts later. */
async function gateway(): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  const server = new Server();
  server.addService(platform.PlatformService, {
    deliver: (call, callback) => {
      const body = JSON.stringify({ text: call.request.content });
      const post = request(url, { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, (response) => {
        response.resume();
        response.once('end', () => callback(null, { outcome: { $case: 'delivered', value: { platformMessageId: '1', more: false } } }));
      });
      post.end(body);
    },
    deliverFile: (_call, callback) => callback(null, { outcome: undefined }),
    settle: (_call, callback) => callback(null, { verdict: 0, platformMessageId: '', more: false, policy: '' }),
    typing: (_call, callback) => callback(null, {}),
    preview: (_call, callback) => callback(null, { outcome: undefined }),
  } satisfies platform.PlatformServer);
  const port = await serve(server);
  const app = fastify();
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  let client: inbox.InboxClient | undefined;
  createInterface({ input: process.stdin }).once('line', (address) => {
    client = new inbox.InboxClient(address, credentials.createInsecure());
  });
  app.post('/', async (call, reply) => {
    const raw = call.body as Buffer;
    if (createHmac('sha256', SECRET).update(raw).digest('hex') !== call.headers['x-signature']) return reply.code(401).send();
    const { chat, text } = JSON.parse(raw.toString()) as { chat: string; text: string };
    const enqueue: inbox.EnqueueRequest = {
      agentGroup: 'a',
      scope: 'c/c',
      trigger: true,
      onlyIfEngaged: false,
      ifNotEngaged: 0,
      reason: '',
      event: { ...NO_EVENT, attachments: [], attachmentErrors: [], chat, eventId: text, text },
    };
    await new Promise<void>((resolve, reject) => client?.enqueue(enqueue, (e) => (e ? reject(e) : resolve())));
    return reply.code(200).send();
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const bound = app.server.address();
  ready(`${port} ${typeof bound === 'object' && bound !== null ? bound.port : 0}`);
}

interface Chat {
  readonly insert: Sqlite.Statement;
  readonly at: string;
  outbound: Sqlite.Statement | undefined;
  runner: ServerDuplexStream<attach.AttachRequest, attach.AttachResponse> | undefined;
  seen: number;
}

async function delivery(): Promise<void> {
  const chats = new Map<string, Chat>();
  const chatOf = (name: string): Chat => {
    const at = join(folder, name);
    const known = chats.get(name);
    if (known !== undefined) return known;
    const insert = open(at, 'inbound.db').prepare('INSERT INTO t (kind, content) VALUES (?, ?)');
    const chat: Chat = { insert, at, outbound: undefined, runner: undefined, seen: 0 };
    chats.set(name, chat);
    return chat;
  };
  const client = new platform.PlatformClient(peer, credentials.createInsecure());
  const server = new Server();
  server.addService(inbox.InboxService, {
    enqueue: (call, callback) => {
      const chat = chatOf(call.request.event?.chat ?? '');
      const seq = Number(chat.insert.run('in', call.request.event?.text ?? '').lastInsertRowid);
      callback(null, { outcome: inbox.EnqueueOutcome.STORED, session: 's', seq });
      chat.runner?.write({ message: { $case: 'inbox', value: { seq } } });
    },
    amend: (_call, callback) => callback(null, { outcome: 0 }),
    answer: (_call, callback) => callback(null, { outcome: 0, label: '', answeredBy: '', title: '', text: '' }),
    recordDrop: (_call, callback) => callback(null, {}),
    stageAttachment: (_call, callback) => callback(null, { stagedId: '', sizeBytes: 0, sha256: '' }),
  } satisfies inbox.InboxServer);
  const take = (name: string, chat: Chat): void => {
    chat.outbound ??= open(chat.at, 'outbound.db', true).prepare("SELECT seq, content FROM t WHERE kind = 'out' AND seq > ? ORDER BY seq");
    for (const { seq, content } of chat.outbound.all(chat.seen) as { seq: number; content: string }[]) {
      chat.seen = seq;
      chat.insert.run('sending', String(seq));
      client.deliver(
        {
          channel: 'c',
          chat: name,
          thread: '',
          kind: platform.OutboundKind.CHAT,
          content,
          part: 0,
          idempotencyKey: String(seq),
          targetMessageId: '',
          attempt: 1,
          traceparent: '',
          replyToMessageId: '',
        },
        new Metadata(),
        () => chat.insert.run('delivered', String(seq)),
      );
    }
  };
  server.addService(attach.AttachService, {
    attach: (call) => {
      const name = String(call.metadata.get('chat')[0]);
      const chat = chatOf(name);
      chat.runner = call;
      call.on('data', () => take(name, chat));
      call.on('error', () => {
        chat.runner = undefined;
      });
      call.write({ message: { $case: 'inbox', value: { seq: 0 } } }); // its files are there
    },
  } satisfies attach.AttachServer);
  ready(await serve(server));
}

function runner(name: string): void {
  const cell = join(folder, name);
  const db = open(cell, 'outbound.db');
  const insert = db.prepare('INSERT INTO t (kind, content) VALUES (?, ?)');
  const metadata = new Metadata();
  metadata.set('chat', name);
  let rows: Sqlite.Statement | undefined;
  let seen = 0;
  const stream = new attach.AttachClient(peer, credentials.createInsecure()).attach(metadata);
  stream.on('data', () => {
    if (rows === undefined) ready('up');
    rows ??= open(cell, 'inbound.db', true).prepare("SELECT seq, content FROM t WHERE kind = 'in' AND seq > ? ORDER BY seq");
    for (const { seq, content } of rows.all(seen) as { seq: number; content: string }[]) {
      seen = seq;
      insert.run('claim', String(seq));
      db.transaction(() => {
        insert.run('ack', String(seq));
        insert.run('history', content);
        insert.run('out', content);
      })();
      stream.write({ message: { $case: 'outbox', value: { seq } } });
    }
  });
}

/** The four kinds of processes, with one chat and runner for each of `names`, for as long as `use` runs. `ask` resolves to ms. */
async function withBareProcesses(
  names: readonly string[],
  use: (ask: (chat: string, text: string) => Promise<number>) => Promise<void>,
): Promise<void> {
  const at = mkdtempSync(join(tmpdir(), 'dovecote-floor-'));
  for (const name of names) mkdirSync(join(at, name));
  const children: ChildProcess[] = [];
  const start = async (name: string, ...args: string[]): Promise<{ child: ChildProcess; line: string }> => {
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), name, at, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    if (child.stdout === null) throw new Error('the child has no output');
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    return { child, line };
  };
  const arrived = new Map<string, (at: number) => void>();
  const sink = createServer((call, response) => {
    const chunks: Buffer[] = [];
    call.on('data', (chunk: Buffer) => chunks.push(chunk));
    call.on('end', () => {
      const now = performance.now();
      response.end('{}');
      const { text } = JSON.parse(Buffer.concat(chunks).toString()) as { text: string };
      arrived.get(text)?.(now);
    });
  });
  await new Promise<void>((resolve) => sink.listen(0, '127.0.0.1', resolve));
  const address = sink.address();
  const sinkUrl = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/`;
  const agent = new Agent({ keepAlive: true });
  try {
    const front = await start('gateway', '-', sinkUrl);
    const [platformPort, webPort] = front.line.split(' ');
    const shard = await start('delivery', `127.0.0.1:${platformPort}`);
    front.child.stdin?.write(`127.0.0.1:${shard.line}\n`);
    for (const name of names) await start('runner', `127.0.0.1:${shard.line}`, name);
    await use(async (chat, text) => {
      const body = JSON.stringify({ chat, text });
      const signature = createHmac('sha256', SECRET).update(body).digest('hex');
      const headers = { 'content-type': 'application/json', 'x-signature': signature };
      const began = performance.now();
      const came = new Promise<number>((resolve) => arrived.set(text, resolve));
      request({ host: '127.0.0.1', port: Number(webPort), path: '/', method: 'POST', agent, headers }, (response) => response.resume()).end(
        body,
      );
      return (await came) - began;
    });
  } finally {
    for (const child of children) child.kill('SIGKILL');
    agent.destroy();
    sink.closeAllConnections();
    sink.close();
    rmSync(at, { recursive: true, force: true });
  }
}

/** ms from the event sent to the platform called, `samples` times with gaps from `gap`. */
export async function floor(samples: number, gap: () => Promise<void>): Promise<number[]> {
  const times: number[] = [];
  await withBareProcesses(['c'], async (ask) => {
    for (let n = 0; n < samples + 10; n += 1) {
      await gap();
      const took = await ask('c', `m${n}`);
      if (n >= 10) times.push(took);
    }
  });
  return times;
}

/** ms from the events sent, one to each chat at the same moment, to the platform called for the last of them. */
export async function floorOfMany(chats: number, rounds: number, gap: () => Promise<void>): Promise<number[]> {
  const names = Array.from({ length: chats }, (_, n) => `c${n}`);
  const times: number[] = [];
  await withBareProcesses(names, async (ask) => {
    for (let round = 0; round < rounds + 5; round += 1) {
      await gap();
      const last = Math.max(...(await Promise.all(names.map((name) => ask(name, `m${round}-${name}`)))));
      if (round >= 5) times.push(last);
    }
  });
  return times;
}

if (import.meta.main) {
  if (role === 'gateway') await gateway();
  else if (role === 'delivery') await delivery();
  else if (role === 'runner') runner(url);
}
