import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cellPaths, INBOUND_DB, agent as proto } from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { agentGroups, destinations, sessions } from '../../kube/resource-types.ts';
import { bearer, status, unary } from '../../lib/grpc.ts';
import { type Bench, createBench, localChannel, until } from '../testing/delivery-bench.ts';
import { plainTokens } from '../testing/tokens.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await createBench();
  await bench.agent('helper');
});
afterEach(() => bench.close());

const EVERYTHING: proto.SearchMessagesRequest = { query: '', fromMs: 0, toMs: 0, session: '', contact: '', role: '', limit: 0 };

async function as(caller: string): Promise<{
  search(request: Partial<proto.SearchMessagesRequest>): Promise<proto.SearchMessagesResponse>;
  list(request?: Partial<proto.ListOwnSessionsRequest>): Promise<readonly proto.OwnSession[]>;
}> {
  const metadata = await bearer(plainTokens(caller), 'dovecote-delivery');
  const call = async <T>(use: (client: proto.AgentClient) => Promise<T>): Promise<T> => {
    const client = new proto.AgentClient(bench.delivery().address, credentials.createInsecure());
    try {
      return await use(client);
    } finally {
      client.close();
    }
  };
  const options = { metadata, deadlineMs: 60_000 };
  return {
    search: (request) => call((client) => unary(client, client.searchMessages, { ...EVERYTHING, ...request }, options)),
    list: async (request) =>
      (await call((client) => unary(client, client.listOwnSessions, { type: '', channelType: '', limit: 0, ...request }, options)))
        .sessions,
  };
}
const texts = ({ messages }: proto.SearchMessagesResponse): string[] => messages.map(({ text }) => text);

/** Sends and waits for the delivered echo. */
async function talk(text: string, chat = 'c1', sender = 'Ada', agentGroup = 'helper'): Promise<string> {
  const before = bench.delivered.length;
  const event = { eventId: `${agentGroup}/${chat}/${text}`, chat, text, senderName: sender };
  const { session } = await bench.enqueue(event, { agentGroup });
  await until(() => bench.delivered.length > before, 'the echo');
  return session;
}
async function asleep(session: string): Promise<void> {
  await bench.store.apply(sessions, { metadata: { name: session }, spec: { suspended: true } }, { fieldManager: 'person' });
  await until(() => !bench.runners.has(session), 'it sleeps');
}

describe('searching what was said', () => {
  test("finds both sides of all the agent's conversations, newest first, by words in any order, and none of another agent's", async () => {
    await bench.agent('other');
    const one = await talk('the invoice of the blue whale');
    const two = await talk('Invoice for a RED whale', 'c2', 'Bob');
    const alien = await talk('whale of another agent', 'c1', 'Eve', 'other');
    const { search } = await as(`session:${two}:pod`);
    const found = await search({ query: 'WHALE invoice' });
    expect(found.messages.map(({ session, role, senderName, text }) => [session, role, senderName, text])).toEqual([
      [two, 'assistant', 'helper', 'echo Invoice for a RED whale'],
      [two, 'user', 'Bob', 'Invoice for a RED whale'],
      [one, 'assistant', 'helper', 'echo the invoice of the blue whale'],
      [one, 'user', 'Ada', 'the invoice of the blue whale'],
    ]);
    expect(found.more).toBe(false);
    expect(texts(await search({ query: 'whale', session: alien }))).toEqual([]);
    expect(texts(await (await as(`session:${alien}:pod`)).search({ query: 'whale', role: 'user' }))).toEqual(['whale of another agent']);
  });

  test('filters come before the limit: time, session, contact, role; `more` tells that there is more', async () => {
    const session = await talk('apple one');
    await talk('apple two', 'c2', 'Bob Builder');
    const { search } = await as(`session:${session}:pod`);
    expect(texts(await search({ query: 'apple', contact: 'bUILD', limit: 1 }))).toEqual(['apple two']);
    expect(texts(await search({ query: 'apple', role: 'user', session, limit: 1 }))).toEqual(['apple one']);
    const { messages, more } = await search({ query: 'apple', role: 'user', limit: 1 });
    expect([messages.map(({ text }) => text), more]).toEqual([['apple two'], true]);
    const at = messages[0]?.createdAtMs ?? 0;
    expect(texts(await search({ query: 'apple', role: 'user', toMs: at - 1 }))).toEqual(['apple one']);
    expect(texts(await search({ query: 'apple', role: 'user', fromMs: at }))).toEqual(['apple two']);
    expect(texts(await search({ role: 'user' }))).toEqual(['apple two', 'apple one']);
    expect(texts(await search({ query: 'apple', toMs: Date.now() - 8 * 86_400_000 }))).toEqual([]);
  });

  test('Chinese, short words, and characters that mean something to a query are found as they stand', async () => {
    const session = await talk('今天天气很好,我们去公园');
    await talk('100%_sure "quoted" AND (odd) * a_b', 'c2');
    const { search } = await as(`session:${session}:pod`);
    const users = async (query: string): Promise<string[]> => texts(await search({ query, role: 'user' }));
    for (const query of ['天气', '天', '园', '天气很好', '我们去 天气', '公园', '公园 今天'])
      expect(await users(query)).toEqual(['今天天气很好,我们去公园']);
    for (const query of ['0%', '"quoted"', 'AND (odd)', '*', '"', 'a_b', '%_s', 'NOT', "'"]) {
      expect([query, await users(query)]).toEqual([query, ['NOT', "'"].includes(query) ? [] : ['100%_sure "quoted" AND (odd) * a_b']]);
    }
    for (const query of ['天很', '园天', '雨']) expect(await users(query)).toEqual([]);
    await talk('ÄPFEL über alles', 'c3', 'Ünal Ö');
    for (const query of ['äp', 'äpfel', 'Üb', 'ÜBER äpfel']) {
      expect([query, await users(query)]).toEqual([query, ['ÄPFEL über alles']]);
      const { messages } = await search({ query, role: 'user' });
      expect(texts(await search({ query, session: messages[0]?.session ?? '' }))).toContain('ÄPFEL über alles');
    }
    for (const contact of ['ünal', 'NAL ö', 'na']) expect(texts(await search({ contact }))).toEqual(['ÄPFEL über alles']);
  });

  test('what was changed or deleted before anybody read it is found as it is now', async () => {
    const { session } = await bench.enqueue({ eventId: 'a', text: 'secret password', platformMessageId: 'p1' }, { trigger: false });
    await bench.enqueue({ eventId: 'b', text: 'rhubarb pie', platformMessageId: 'p2' }, { trigger: false });
    const { search } = await as(`session:${session}:pod`);
    expect(texts(await search({ query: 'secret' }))).toEqual(['secret password']);
    await bench.amend('p1', { eventId: 'd1', change: { $case: 'deleted', value: true } });
    await bench.amend('p2', { eventId: 'd2', change: { $case: 'newText', value: 'apple pie' } });
    await until(async () => texts(await search({})).join() === 'apple pie');
    expect(texts(await search({ query: 'secret' }))).toEqual([]);
    expect(texts(await search({ query: 'rhubarb' }))).toEqual([]);
    expect(texts(await search({ query: 'apple' }))).toEqual(['apple pie']);
  });

  test('a sleeping session is found; after a restart nothing is missing or there twice, also when the file was lost or broken', async () => {
    const sleeping = await talk('mackerel 1');
    await asleep(sleeping);
    const awake = await talk('mackerel 2', 'c2');
    const { search } = await as(`session:${awake}:pod`);
    const found = async (): Promise<string[]> => texts(await search({ query: 'mackerel', role: 'user' }));
    expect(await found()).toEqual(['mackerel 2', 'mackerel 1']);
    await bench.restart();
    await talk('mackerel 3', 'c3');
    expect(await found()).toEqual(['mackerel 3', 'mackerel 2', 'mackerel 1']);
    for (const broken of ['not a database at all', '']) {
      await bench.stop();
      const uid = (await bench.store.get(agentGroups, 'helper'))?.metadata.uid;
      writeFileSync(join(bench.root, 'search', `${uid}.db`), broken);
      await bench.restart();
      await until(async () => (await found()).length === 3, 'all is found again');
      expect(await found()).toEqual(['mackerel 3', 'mackerel 2', 'mackerel 1']);
    }
  });

  test('a message is found by its last word, as long as a message may be, and shown around it', async () => {
    const session = await talk('short');
    const long = `${'pigeon '.repeat(140_000)}zeppelin`;
    await bench.enqueue({ eventId: 'long', text: long }, { trigger: false });
    const { search } = await as(`session:${session}:pod`);
    const { messages } = await search({ query: 'ZEPPELIN pigeon', role: 'user' });
    expect(messages.map(({ text }) => [text.length <= 500, text.startsWith('pigeon')])).toEqual([[true, true]]);
    expect(texts(await search({ query: 'zeppelin', role: 'user' }))[0]).toMatch(/^….*pigeon zeppelin$/);
  });

  test('says how many conversations it could not read, while it finds what is in the others', async () => {
    const [one, two] = [await talk('walrus 1'), await talk('walrus 2', 'c2')];
    const { search } = await as(`session:${two}:pod`);
    expect(await search({ query: 'walrus', role: 'user' })).toMatchObject({ unreadSessions: 0, messages: [{}, {}] });
    await bench.stop();
    rmSync(join(bench.root, 'search'), { recursive: true });
    const file = join(cellPaths(bench.root, one).in, INBOUND_DB);
    renameSync(file, `${file}.away`);
    writeFileSync(file, 'not a database at all');
    await bench.restart();
    const partly = await search({ query: 'walrus', role: 'user' });
    expect([texts(partly), partly.unreadSessions]).toEqual([['walrus 2'], 1]);
    expect(await search({ query: 'walrus', role: 'user', session: two, fromMs: 1 })).toMatchObject({ messages: [{ text: 'walrus 2' }] });
    renameSync(`${file}.away`, file);
    await until(async () => (await search({})).unreadSessions === 0, 'all is read');
    expect(texts(await search({ query: 'walrus', role: 'user' }))).toEqual(['walrus 2', 'walrus 1']);
  });

  test('a file that broke while delivery ran is made anew without a restart', async () => {
    const session = await talk('herring');
    const { search } = await as(`session:${session}:pod`);
    const found = async (): Promise<string[]> => texts(await search({ query: 'herring', role: 'user' }));
    expect(await found()).toEqual(['herring']);
    // So many others that the file of this one is closed.
    for (let n = 0; n < 16; n += 1) {
      await bench.agent(`other-${n}`);
      const other = await bench.enqueue({ eventId: `o${n}`, chat: `o${n}`, text: 'hi' }, { agentGroup: `other-${n}`, trigger: false });
      await (await as(`session:${other.session}:pod`)).search({});
    }
    const uid = (await bench.store.get(agentGroups, 'helper'))?.metadata.uid;
    for (const end of ['', '-wal', '-shm']) rmSync(join(bench.root, 'search', `${uid}.db${end}`), { force: true });
    writeFileSync(join(bench.root, 'search', `${uid}.db`), 'not a database at all');
    await until(async () => (await found()).length === 1, 'it is found again');
  });

  test('says how many other shards its agent is on, which it does not search', async () => {
    const session = await talk('gull');
    const { search, list } = await as(`session:${session}:pod`);
    expect((await search({ query: 'gull' })).unseenShards).toBe(0);
    await bench.store.applyStatus(agentGroups, 'helper', { shards: ['0', '1', '2'] }, { fieldManager: 'test' });
    await until(async () => (await search({ query: 'gull' })).unseenShards === 2, 'it is told');
    expect((await search({ query: 'gull', session })).unseenShards).toBe(0);
    expect((await search({ query: 'gull', session: 'helper-elsewhere' })).unseenShards).toBe(2);
    expect(await list()).toHaveLength(1);
  });

  test('what was said to an agent that has no cell any more is gone from the disk with the next start', async () => {
    const session = await talk('to be forgotten');
    const other = await bench.agent('other');
    await talk('kept', 'c1', 'Ada', 'other');
    await (await as(`session:${session}:pod`)).search({});
    await bench.stop();
    renameSync(join(bench.root, 'cells', session), join(bench.root, 'cell-in-trash'));
    await bench.restart();
    const files = (): string[] => readdirSync(join(bench.root, 'search')).filter((name) => name.endsWith('.db'));
    await until(() => files().join() === `${other.metadata.uid}.db`, 'its file is gone');
  });

  test.each([
    ['a negative limit', { limit: -1 }, 'limit must be between 1 and 100'],
    ['a limit beyond all measure', { limit: 1_000_000 }, 'limit must be between 1 and 100'],
    ['another role', { role: 'admin' }, 'role must be'],
    ['a range that ends before it begins', { fromMs: 2, toMs: 1 }, 'from_ms must not be later'],
    ['a query without end', { query: 'x'.repeat(501) }, 'query must have at most 500 characters'],
    ['too many words', { query: 'xyz '.repeat(17) }, 'query must have at most 16 words'],
  ])('refuses %s and names the field', async (_what, request, sentence) => {
    const { session } = await bench.enqueue({ eventId: 'a', text: 'hi' }, { trigger: false });
    const { search } = await as(`session:${session}:pod`);
    await expect(search(request)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, details: expect.stringContaining(sentence) });
  });

  test('is for sessions of this shard alone', async () => {
    await expect((await as('role:gateway')).search({})).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    await expect((await as('session:nobody:pod')).search({})).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
  });
});

describe("listing the agent's sessions", () => {
  test('tells type, place, platform and size, newest activity first, filtered before the limit; no id of a platform', async () => {
    await localChannel(bench.store);
    await bench.agent('other');
    await bench.store.create(
      destinations,
      {
        metadata: { name: 'helper-team' },
        spec: { agentGroupRef: 'helper', localName: 'team', target: { type: 'channel', channel: { channelRef: 'web', chatId: 'c1' } } },
      },
      { fieldManager: 'test' },
    );
    const one = await talk('hello');
    const two = await talk('hello', 'c2-secret-id');
    await talk('hello', 'c1', 'Ada', 'other');
    const { list, search } = await as(`session:${two}:pod`);
    await search({});
    await until(async () => (await list()).some(({ place }) => place === 'team'));
    expect(await list()).toMatchObject([
      { session: two, type: 'chat', channelType: 'local', place: 'a local chat', messages: 2, own: true },
      { session: one, type: 'chat', channelType: 'local', place: 'team', messages: 2, own: false },
    ]);
    expect(JSON.stringify(await list())).not.toContain('secret-id');
    expect(await list({ limit: 1 })).toMatchObject([{ session: two }]);
    expect(await list({ channelType: 'slack' })).toEqual([]);
    expect(await list({ type: 'heartbeat' })).toEqual([]);
    expect(await list({ type: 'CHAT', channelType: 'local' })).toHaveLength(2);
  });
});
