import { join } from 'node:path';
import { cellPaths, INBOUND_DB, openInboundWriter, sessions } from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { bearer, type Metadata, unary } from '../../lib/grpc.ts';
import { type Bench, createBench, until } from '../testing/delivery-bench.ts';
import { plainTokens } from '../testing/tokens.ts';

let bench: Bench;
let metadata: Metadata;
beforeEach(async () => {
  metadata = await bearer(plainTokens('role:gateway'), 'dovecote-delivery');
  bench = await createBench();
  await bench.agent('helper');
});
afterEach(() => bench.close());

interface Reader {
  readonly messages: sessions.ChatMessage[];
  readonly activities: sessions.Activity[];
  readonly ended: Promise<unknown>;
  close(): void;
}
function watch(request: Partial<sessions.WatchMessagesRequest>): Reader {
  const client = bench.sessions();
  const call = client.watchMessages({ session: '', channel: '', chat: '', afterCursor: '', ...request }, metadata);
  const messages: sessions.ChatMessage[] = [];
  const activities: sessions.Activity[] = [];
  call.on('data', ({ update }: sessions.WatchMessagesResponse) => {
    if (update?.$case === 'message') messages.push(update.value);
    if (update?.$case === 'activity') activities.push(update.value);
  });
  const ended = new Promise((resolve) => {
    call.on('error', resolve);
    call.on('end', resolve);
  });
  return { messages, activities, ended, close: () => call.cancel() };
}
const said = ({ messages }: Reader): string[] =>
  messages.map(({ direction, content }) => `${direction}: ${(JSON.parse(content) as { text: string }).text}`);

describe('watching a conversation', () => {
  test('a web chat that knows no session yet sees its first message, the answer, and what its session does', async () => {
    const reader = watch({ channel: 'web', chat: 'c1' });
    await bench.enqueue({ eventId: 'other', chat: 'c2', text: 'not for us' });
    await bench.enqueue({ eventId: 'e1', text: 'hi' });
    await until(() => reader.messages.length === 2, 'both messages');
    expect(said(reader)).toEqual(['in: hi', 'out: echo hi']);
    expect(reader.messages[0]).toMatchObject({ eventId: 'e1', senderName: 'Ada' });
    expect(reader.messages[1]).toMatchObject({ state: 'delivered', senderName: 'helper' });
    await until(() => reader.activities.at(-1)?.state === 'Idle');
    expect(reader.activities.map(({ state }) => state)).toContain('Waking');
  });

  test('a reader that resumes at every possible place misses nothing and sees nothing twice, over restarts too', async () => {
    const { session } = await bench.enqueue({ eventId: 'e0', text: '0' });
    await until(() => bench.delivered.length === 1);
    for (let n = 1; n < 6; n += 1) {
      await bench.enqueue({ eventId: `e${n}`, text: String(n) });
      await until(() => bench.delivered.length === n + 1);
    }
    const whole = watch({ session });
    await until(() => whole.messages.length === 12);
    const expected = [0, 1, 2, 3, 4, 5].flatMap((n) => [`in: ${n}`, `out: echo ${n}`]);
    expect(said(whole).sort()).toEqual([...expected].sort());
    await bench.restart();
    for (const [i, { cursor }] of whole.messages.entries()) {
      const rest = watch({ session, afterCursor: cursor });
      await until(() => rest.messages.length >= 11 - i);
      expect(said(rest)).toEqual(said(whole).slice(i + 1));
      rest.close();
    }
  });

  test('an answer that is delivered late is shown late to a reader that was past it, and once', async () => {
    const { session } = await bench.enqueue({ eventId: 'e0', text: '0' });
    await until(() => bench.delivered.length === 1);
    const reader = watch({ session });
    await until(() => reader.messages.length === 2);
    await bench.stop();
    // As if the platform had been down: the second row went out, the first waits.
    const db = openInboundWriter(join(cellPaths(bench.root, session).in, INBOUND_DB));
    db.exec(`INSERT INTO notices (seq, id, channel, chat, content, created_at) VALUES (100, 'n1', 'web', 'c1', '{"text":"late"}', 1);
      INSERT INTO delivered (seq, lane, state, next_attempt_at, idempotency_key, created_at, updated_at) VALUES (100, 'web/c1', 'failed', 9e15, 'k1', 1, 1);
      INSERT INTO notices (seq, id, channel, chat, thread, content, created_at) VALUES (102, 'n2', 'web', 'c1', 't', '{"text":"early"}', 2);
      INSERT INTO delivered (seq, lane, state, idempotency_key, created_at, updated_at) VALUES (102, 'web/c1/t', 'delivered', 'k2', 2, 2);`);
    await bench.restart();
    const second = watch({ session, afterCursor: reader.messages.at(-1)?.cursor ?? '' });
    await until(() => second.messages.length === 1);
    expect(said(second)).toEqual(['out: early']);
    db.exec("UPDATE delivered SET state = 'delivered' WHERE seq = 100");
    db.close();
    const third = watch({ session, afterCursor: second.messages[0]?.cursor ?? '' });
    await until(() => third.messages.length === 1);
    await bench.enqueue({ eventId: 'e9', text: '9' });
    await until(() => third.messages.length === 3);
    expect(said(third)).toEqual(['out: late', 'in: 9', 'out: echo 9']);
  });

  test('a cursor that is none of ours, and a session that is not here, are refused', async () => {
    expect(String(await watch({ session: 'nobody' }).ended)).toContain('NOT_FOUND');
    expect(String(await watch({ channel: 'web', chat: 'c1', afterCursor: 'xyz' }).ended)).toContain('INVALID_ARGUMENT');
    expect(String(await watch({}).ended)).toContain('INVALID_ARGUMENT');
  });

  test('a reader that stops reading holds nothing back and is not buffered for', async () => {
    const { session } = await bench.enqueue({ eventId: 'e0' });
    // Of its own connection: on a shared one, HTTP/2's window would hold back its neighbours (the reader's problem, not delivery's).
    const own = { 'grpc.use_local_subchannel_pool': 1 };
    const client = new sessions.SessionsClient(bench.delivery().address, credentials.createInsecure(), own);
    const call = client.watchMessages({ session, channel: '', chat: '', afterCursor: '' }, metadata);
    call.on('error', () => {});
    call.pause();
    const big = 'x'.repeat(500_000);
    for (let n = 1; n <= 20; n += 1) await bench.enqueue({ eventId: `e${n}`, text: big }, { trigger: false });
    const quick = watch({ session });
    await until(() => quick.messages.length >= 21, 'another reader to have everything');
    const seen: string[] = [];
    call.on('data', ({ update }: sessions.WatchMessagesResponse) => {
      if (update?.$case === 'message' && update.value.direction === 'in') seen.push(update.value.eventId);
    });
    call.resume();
    await until(() => seen.length === 21, 'the slow one to have everything');
    expect(seen).toEqual(Array.from({ length: 21 }, (_, n) => `e${n}`));
    call.cancel();
    client.close();
  });
});

describe('listing and explaining', () => {
  test('sessions are listed newest first with state and what waits', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1', text: 'hi' });
    await until(() => bench.delivered.length === 1);
    const client = bench.sessions();
    await until(async () => {
      const { sessions: list } = await unary(
        client,
        client.listSessions,
        { agentGroup: 'helper', limit: 0 },
        { metadata, deadlineMs: 60_000 },
      );
      return list[0]?.session === session && list[0].state === 'Awake' && list[0].pending === 0 && list[0].chat === 'c1';
    });
  });

  test('messages are listed in pages that meet without gap', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1', text: '1' });
    await until(() => bench.delivered.length === 1);
    await bench.enqueue({ eventId: 'e2', text: '2' });
    await until(() => bench.delivered.length === 2);
    const client = bench.sessions();
    const list = async (afterCursor: string) =>
      (await unary(client, client.listMessages, { session, afterCursor, limit: 3 }, { metadata, deadlineMs: 60_000 })).messages;
    await until(async () => (await list('')).length === 3 && (await list((await list('')).at(-1)?.cursor ?? '')).length === 1);
  });

  test('why: an event is explained by its id from gate to platform, a dropped one by its reason', async () => {
    const { session, seq } = await bench.enqueue({ eventId: 'e1', text: 'hi' }, { reason: 'Mentioned' });
    await until(() => bench.delivered.length === 1);
    const client = bench.sessions();
    const explain = (id: string) => unary(client, client.explain, { id }, { metadata, deadlineMs: 60_000 });
    await until(async () => (await explain('e1')).steps.some(({ what }) => what.includes('is delivered')));
    const answer = await explain(`${session}/${seq}`);
    expect(answer).toMatchObject({ found: true, session });
    expect(answer.steps.map(({ stage }) => stage)).toEqual(expect.arrayContaining(['gate', 'inbox', 'turn', 'outbox', 'platform']));
    expect(answer.steps[0]).toMatchObject({ stage: 'gate', reason: 'Mentioned' });
    const drop = {
      eventId: 'd1',
      channel: 'web',
      chat: 'c',
      sender: 's',
      senderName: '',
      agentGroup: '',
      reason: 'Unwired',
      detail: 'no agent is wired to this chat',
      receivedAtMs: 5,
    };
    const inbox = bench.inbox();
    for (const _ of [1, 2]) await unary(inbox, inbox.recordDrop, drop, { metadata, deadlineMs: 60_000 });
    expect(await explain('d1')).toMatchObject({ found: true, steps: [{ stage: 'gate', reason: 'Unwired' }] });
    const { drops } = await unary(
      client,
      client.listDrops,
      { channel: '', chat: '', sender: 's', limit: 0 },
      { metadata, deadlineMs: 60_000 },
    );
    expect(drops).toMatchObject([{ reason: 'Unwired', count: 1 }]);
    expect(await explain('nothing')).toEqual({ found: false, session: '', steps: [] });
  });

  test('a message that its runner gave up is a dead letter, the chat is told, and a retry is answered', async () => {
    const { session, seq } = await bench.enqueue({ eventId: 'e0', text: '0' }, { trigger: false });
    bench.manual.add(session);
    await bench.enqueue({ eventId: 'e1', text: 'poison' });
    await until(async () => (await bench.session(session))?.spec.awake === true);
    let poisonous = true;
    bench.runner(session, (row) => {
      if (poisonous) throw new Error('the runner died of it');
      return `survived ${row.seq}`;
    });
    const client = bench.sessions();
    const list = async () =>
      (await unary(client, client.listDeadLetters, { session: '', limit: 0 }, { metadata, deadlineMs: 60_000 })).deadLetters;
    await until(async () => (await list()).length === 1, 'the dead letter');
    const [letter] = await list();
    expect(letter).toMatchObject({ id: `${session}/${seq + 2}`, direction: 'in', kind: 'chat', lastError: 'the runner died of it' });
    await until(() => bench.delivered.some(({ content }) => content.includes('set it aside')), 'the notice');
    poisonous = false;
    const retry = (id: string) => unary(client, client.retryDeadLetter, { id, requestedBy: 'ada' }, { metadata, deadlineMs: 60_000 });
    expect(await retry(letter?.id ?? '')).toEqual({ found: true });
    await until(() => bench.delivered.some(({ content }) => content.includes('survived')), 'the answer');
    expect(await list()).toEqual([]);
    for (const id of [`${session}/9999`, 'nobody/2', 'nonsense']) expect(await retry(id)).toEqual({ found: false });
  });
});
