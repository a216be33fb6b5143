import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agent as proto } from '@dovecote/proto';
import { Server, ServerCredentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { AgentData } from '../agent-data/agent-data.ts';
import { systemClock } from '../lifecycle/clock.ts';
import { ToolBench } from '../testing/tool-bench.ts';

/** Delivery's end of the Agent service, scripted: the real one is met by the scenarios. */
class ScriptedDelivery {
  readonly asked: unknown[] = [];
  readonly tokens: string[] = [];
  answer: Partial<proto.SearchMessagesResponse> = {};
  sessions: readonly proto.OwnSession[] = [];
  unseenShards = 0;
  failure: Partial<ServiceError> | undefined;
  #server: Server | undefined;

  async listen(): Promise<string> {
    const server = new Server();
    server.addService(proto.AgentService, {
      listOwnSessions: (call, callback) => {
        this.asked.push(call.request);
        callback(null, { sessions: [...this.sessions], unseenShards: this.unseenShards });
      },
      searchMessages: (call, callback) => {
        this.asked.push(call.request);
        this.tokens.push(String(call.metadata.get('authorization')[0]));
        if (this.failure !== undefined) callback(this.failure);
        else callback(null, { messages: [], more: false, unreadSessions: 0, unseenShards: this.unseenShards, ...this.answer });
      },
    } satisfies proto.AgentServer);
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (e, bound) => (e === null ? resolve(bound) : reject(e))),
    );
    this.#server = server;
    return `127.0.0.1:${port}`;
  }
  close(): void {
    this.#server?.forceShutdown();
  }
}

let folder: string;
let delivery: ScriptedDelivery;
let bench: ToolBench;
let data: AgentData;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dovecote-agent-data-'));
  writeFileSync(join(folder, 'token'), 'pod-token\n');
  delivery = new ScriptedDelivery();
  data = new AgentData({ address: await delivery.listen(), tokenFile: join(folder, 'token'), clock: systemClock });
  bench = new ToolBench({ agentData: data });
});
afterEach(async () => {
  data.close();
  await bench.close();
  delivery.close();
  rmSync(folder, { recursive: true });
});

const found = {
  session: 'helper-two',
  title: 'A "trip"',
  seq: 4,
  role: 'user',
  senderName: 'Bob <b>',
  text: 'to </found> Rome',
  createdAtMs: 1_780_000_000_000,
};

describe('search_messages', () => {
  test('asks with the token of that moment, and shows what was found as words of others', async () => {
    delivery.answer = { messages: [found, { ...found, role: 'assistant', senderName: 'helper', text: 'ok' }], more: true };
    writeFileSync(join(folder, 'token'), 'exchanged');
    const { text } = await bench.use('search_messages', {
      query: 'rome',
      from: '2026-05-01',
      to: '2026-06-01T10:00',
      role: 'user',
      limit: 5,
    });
    expect(text.split('\n')).toEqual([
      '<found session="helper-two" title="A &quot;trip&quot;" id="4" role="user" sender="Bob &lt;b&gt;" time="2026-05-28T20:26Z">to &lt;/found&gt; Rome</found>',
      '<found session="helper-two" title="A &quot;trip&quot;" id="4" role="assistant" time="2026-05-28T20:26Z">ok</found>',
      '(there are more: narrow the search, or go on with an earlier to)',
    ]);
    expect(delivery.tokens).toEqual(['Bearer exchanged']);
    expect(delivery.asked).toEqual([
      { query: 'rome', fromMs: Date.UTC(2026, 4, 1), toMs: Date.UTC(2026, 5, 1, 10), session: '', contact: '', role: 'user', limit: 5 },
    ]);
  });

  test('says what it could not look at: conversations that are not read yet, and those on other shards', async () => {
    delivery.unseenShards = 2;
    const elsewhere = '(Your conversations lie on 3 shards; only those on the shard of this one were';
    delivery.answer = { messages: [found], more: true, unreadSessions: 3 };
    expect((await bench.use('search_messages', { query: 'rome' })).text.split('\n').slice(1)).toEqual([
      '(These results are incomplete: 3 of your conversations are still being read into the index. Search again in a minute.)',
      `${elsewhere} searched.)`,
      '(there are more: narrow the search, or go on with an earlier to)',
    ]);
    delivery.answer = { unreadSessions: 1 };
    const { text } = await bench.use('search_messages', { query: 'rome', from: '2026-05-01' });
    expect(text).toMatch(/^No message matches\.\n\(These results are incomplete: 1 of your conversations is still/);
    expect((await bench.use('list_sessions', {})).text).toBe(`No conversation matches.\n${elsewhere} looked at.)`);
  });

  test('says that it looked at the last seven days alone, and what is wrong with a time', async () => {
    expect((await bench.use('search_messages', { query: 'x' })).text).toContain('in the last seven days');
    expect((await bench.use('search_messages', { from: '2020-01-01' })).text).toBe('No message matches.');
    for (const from of ['yesterday', '2026-13-01', '5', '2026-02-03T99:00'])
      expect(await bench.use('search_messages', { from })).toEqual({ isError: true, text: expect.stringContaining('from is not a time') });
  });

  test.each([
    [{ code: status.INVALID_ARGUMENT, details: 'query must have at most 16 words' }, 'query must have at most 16 words'],
    [{ code: status.PERMISSION_DENIED, details: 'no' }, 'may not be read from this session'],
    [{ code: status.INTERNAL, details: 'a secret of the server' }, 'Try again later'],
  ])('tells in words why it could not: %j', async (failure, sentence) => {
    delivery.failure = failure;
    const { isError, text } = await bench.use('search_messages', { query: 'x' });
    expect([isError, text]).toEqual([true, expect.stringContaining(sentence)]);
    expect(text).not.toContain('secret');
  });

  test('without a token, and when it is stopped, does not wait', async () => {
    rmSync(join(folder, 'token'));
    expect((await bench.use('search_messages', {})).text).toContain('no token yet');
    writeFileSync(join(folder, 'token'), 't');
    delivery.close();
    const stop = new AbortController();
    const waiting = bench.use('search_messages', {}, { signal: stop.signal });
    stop.abort(new Error('stop'));
    expect(await waiting).toEqual({ isError: true, text: 'Stopped before it ended.' });
  });
});

describe('list_sessions', () => {
  test('shows id, type, place, title and size', async () => {
    const session = {
      session: 'helper-two',
      type: 'chat',
      title: 'Trip',
      channelType: 'slack',
      place: 'team',
      lastActivityMs: 1_780_000_000_000,
      messages: 7,
      own: false,
    };
    delivery.sessions = [session, { ...session, session: 'helper-one', title: '', own: true }];
    expect((await bench.use('list_sessions', { platform: 'slack', type: 'chat', limit: 3 })).text).toBe(
      'helper-two, chat, team, Trip, 7 messages, last 2026-05-28T20:26Z\nhelper-one (this one), chat, team, 7 messages, last 2026-05-28T20:26Z',
    );
    expect(delivery.asked).toEqual([{ type: 'chat', channelType: 'slack', limit: 3 }]);
    delivery.sessions = [];
    expect((await bench.use('list_sessions', {})).text).toBe('No conversation matches.');
    expect((await bench.use('list_sessions', { type: 'other' })).isError).toBe(true);
  });

  test('is not there when nobody can be asked', async () => {
    const alone = new ToolBench();
    expect(alone.toolbox.names).not.toContain('list_sessions');
    await alone.close();
  });
});
