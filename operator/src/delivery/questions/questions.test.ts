import { join } from 'node:path';
import { cellPaths, INBOUND_DB, type InboundContent, inbox, type MessageInRow, openInboundReader, type QuestionRow } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { bearer, unary } from '../../lib/grpc.ts';
import { type Bench, createBench, enqueueRequest, localChannel, until } from '../testing/delivery-bench.ts';
import type { Said } from '../testing/scripted-runner.ts';
import { plainTokens } from '../testing/tokens.ts';

const question = (id: string, labels: readonly string[]): Said => ({
  kind: 'question',
  content: {
    questionId: id,
    title: 'Colour',
    text: 'Which one?',
    options: labels.map((label) => ({ label, value: label.toLowerCase() })),
    expiresAt: 1,
  },
});

let bench: Bench;
let free = 1e12;
let session = '';
let refusing = false;
beforeEach(async () => {
  free = 1e12;
  refusing = false;
  bench = await createBench({
    controller: false,
    deps: { freeBytes: async () => free },
    deliver: () => (refusing ? { $case: 'refused', value: { reason: 'Invalid', message: 'the platform does not like it' } } : undefined),
  });
  await localChannel(bench.store);
  await bench.agent('helper');
  ({ session } = await bench.enqueue({ eventId: 'start', text: 'ask q1 Red Green Blue' }));
  bench.runner(session, (row) => {
    const [verb, id = '', ...labels] = textOf(row).split(' ');
    return verb === 'ask' ? question(id, labels) : undefined;
  });
  await until(() => sent().length === 1, 'the question is delivered');
});
afterEach(() => bench.close());

const textOf = (row: MessageInRow | undefined): string => contentOf(row).text;
const contentOf = (row: MessageInRow | undefined) => JSON.parse(row?.content ?? '{}') as InboundContent;
function read<T>(sql: string): T[] {
  const db = openInboundReader(join(cellPaths(bench.root, session).in, INBOUND_DB));
  try {
    return db.prepare(sql).all() as T[];
  } finally {
    db.close();
  }
}
const rows = (): MessageInRow[] => read('SELECT * FROM messages_in ORDER BY seq');
const questions = (): QuestionRow[] => read('SELECT * FROM questions ORDER BY seq');
const sent = (): number[] =>
  read<{ seq: number }>("SELECT seq FROM delivered WHERE state = 'delivered' ORDER BY seq").map(({ seq }) => seq);
/** An ordinary message; its row. */
async function say(text: string, event: Partial<inbox.InboundEvent> = {}, request: Partial<inbox.EnqueueRequest> = {}) {
  const { seq } = await bench.enqueue({ eventId: `said-${Math.random()}`, text, ...event }, request);
  return rows().find((row) => row.seq === seq);
}
/** Asks, and waits until people see it. */
async function ask(id: string, ...labels: readonly string[]): Promise<void> {
  const before = sent().length;
  await say(`ask ${id} ${labels.join(' ')}`);
  await until(() => sent().length > before, `question ${id} is delivered`);
}

async function press(
  option: number,
  event: Partial<inbox.InboundEvent> & { eventId: string },
  request: Partial<inbox.AnswerRequest> = {},
): Promise<inbox.AnswerResponse> {
  const client = bench.inbox();
  const whole = { session, questionSeq: questions().at(-1)?.seq ?? 0, option, event: enqueueRequest(event).event, ...request };
  const metadata = await bearer(plainTokens('role:gateway'), 'dovecote-delivery');
  return unary(client, client.answer, whole, { metadata, deadlineMs: 60_000 });
}
const { STORED, DUPLICATE, ALREADY_ANSWERED, UNKNOWN } = inbox.AnswerOutcome;

describe('a button', () => {
  test('becomes a row that calls the agent, ahead of what else was said, and closes its question', async () => {
    const [{ seq } = { seq: 0 }] = questions();
    const answered = await press(1, { eventId: 'click', sender: 'u2', senderName: 'Grace', text: 'forged words' });
    expect(answered).toEqual({ outcome: STORED, label: 'Green', answeredBy: 'Grace', title: 'Colour', text: 'Which one?' });
    const row = rows().at(-1);
    expect(row).toMatchObject({
      lane: 'control',
      kind: 'chat',
      trigger: 1,
      sender: 'u2',
      sender_name: 'Grace',
      channel: 'web',
      chat: 'c1',
    });
    expect(contentOf(row)).toEqual({
      text: 'Green',
      answer: { questionId: 'q1', questionSeq: seq, title: 'Colour', value: 'green', label: 'Green' },
    });
    expect(questions()).toMatchObject([{ answer_seq: row?.seq, option: 1, answered_by: 'Grace' }]);
  });

  test('wakes its session, however late', async () => {
    bench.runners.get(session)?.close();
    await bench.restart();
    await press(0, { eventId: 'click' });
    await until(async () => (await bench.session(session))?.spec.awake === true, 'the session is woken');
  });

  test('pressed again by the same event is stored once, by another it is told what was chosen', async () => {
    const all = await Promise.all([
      press(0, { eventId: 'a' }),
      press(0, { eventId: 'a' }),
      press(2, { eventId: 'b', senderName: 'Grace' }),
    ]);
    expect(all.map(({ outcome }) => outcome)).toEqual([STORED, DUPLICATE, ALREADY_ANSWERED]);
    expect(all.map(({ label, answeredBy }) => [label, answeredBy])).toEqual([
      ['Red', 'Ada'],
      ['Red', 'Ada'],
      ['Red', 'Ada'],
    ]);
    await bench.restart();
    expect((await press(1, { eventId: 'c' })).outcome).toBe(ALREADY_ANSWERED);
    expect(rows()).toHaveLength(2);
  });

  test.each<[string, number, Partial<inbox.InboundEvent>, Partial<inbox.AnswerRequest>]>([
    ['an option that was never offered', 3, {}, {}],
    ['another chat', 0, { chat: 'c2' }, {}],
    ['another channel', 0, { channel: 'other' }, {}],
    ['a message that is no question', 0, {}, { questionSeq: 2 }],
    ['a session that is not here', 0, {}, { session: 'helper-zzzzzzzzzz' }],
    ['a session that is a path', 0, {}, { session: '../../etc' }],
  ])('of %s is unknown, and nothing is stored', async (_, option, event, request) => {
    expect((await press(option, { eventId: 'forged', ...event }, request)).outcome).toBe(UNKNOWN);
    expect(rows()).toHaveLength(1);
    expect(questions()).toMatchObject([{ answer_seq: null }]);
  });

  test('of a question in a thread counts in that thread alone', async () => {
    const asked = await say('ask q2 Yes No', { thread: 't1' });
    await until(() => sent().length === 2, 'the second question');
    expect(asked?.thread).toBe('t1');
    expect((await press(0, { eventId: 'x', thread: 't2' })).outcome).toBe(UNKNOWN);
    expect((await press(0, { eventId: 'y', thread: 't1' })).outcome).toBe(STORED);
    expect(rows().at(-1)?.thread).toBe('t1');
  });

  test('that names nothing is refused with the field, and a full volume asks to come again', async () => {
    await expect(press(-1, { eventId: 'e' })).rejects.toThrow('option must not be below 0');
    await expect(press(0, { eventId: '' })).rejects.toThrow('event.event_id must not be empty');
    free = 0;
    await until(
      () =>
        press(0, { eventId: 'e' }).then(
          () => false,
          (e: Error) => e.message.includes('volume is full'),
        ),
      'it is refused',
    );
    free = 1e12;
    await until(
      () =>
        press(0, { eventId: 'e' }).then(
          ({ outcome }) => outcome === STORED || outcome === DUPLICATE,
          () => false,
        ),
      'it is taken',
    );
  });
});

describe('words', () => {
  test.each([
    ['2', 'Green'],
    [' 3 ', 'Blue'],
    ['green', 'Green'],
    ['RED', 'Red'],
  ])('%j stand for their button', async (text, label) => {
    const row = await say(text, { platformMessageId: 'm-7' });
    expect(row).toMatchObject({ lane: 'control', trigger: 1, platform_message_id: 'm-7' });
    expect(contentOf(row)).toMatchObject({ text: label, answer: { questionId: 'q1', label, value: label.toLowerCase() } });
    expect((await press(0, { eventId: 'late' })).outcome).toBe(ALREADY_ANSWERED);
  });

  test.each(['0', '4', 'green please', 'Is 2 the best?', '', '2.'])(
    '%j are a message like any other, and the question stays open',
    async (text) => {
      const row = await say(text);
      expect(row).toMatchObject({ lane: 'chat', trigger: 1 });
      expect(contentOf(row)).toEqual({ text });
      expect(questions()).toMatchObject([{ answer_seq: null }]);
    },
  );

  test('of another chat or thread are none, those that would not engage the agent are', async () => {
    for (const elsewhere of [{ thread: 't9' }, { channel: 'other' }])
      expect(contentOf(await say('2', elsewhere, { scope: 'web/c1' })).answer).toBeUndefined();
    const row = await say('2', {}, { trigger: false });
    expect(row).toMatchObject({ trigger: 1, lane: 'control' });
  });

  test('that are a command are no choice, whatever an agent offers', async () => {
    await ask('q2', '/stop', '/go');
    const row = await say('/stop', { lane: inbox.Lane.CONTROL });
    expect(contentOf(row)).toEqual({ text: '/stop' });
    expect(contentOf(await say('/go')).answer).toMatchObject({ questionId: 'q2' });
  });

  test('go to the latest open question of the place, by what people read before its number', async () => {
    await ask('q2', '3', '1', '2');
    const row = await say('2');
    expect(contentOf(row).answer).toMatchObject({ questionId: 'q2', label: '2' });
    expect(contentOf(await say('blue')).answer).toMatchObject({ questionId: 'q1', label: 'Blue' });
    expect(contentOf(await say('2')).answer).toBeUndefined();
  });

  test('that were a choice stay one when their writer changes them, and the agent is told', async () => {
    bench.runners.get(session)?.close();
    const row = await say('2', { platformMessageId: 'm-8' });
    const change = { $case: 'newText' as const, value: '3' };
    expect((await bench.amend('m-8', { change }))?.outcome).toBe(inbox.AmendOutcome.TOLD);
    expect(contentOf(rows().find(({ seq }) => seq === row?.seq)).text).toBe('Green');
    expect(textOf(rows().at(-1))).toContain('It now reads: 3');
  });
});

describe('a question', () => {
  test('under the id of an earlier one is set aside, and the agent is told why', async () => {
    await say('ask q1 Yes No');
    await until(() => rows().some(({ event_id }) => event_id.startsWith('dead/')), 'the agent is told');
    expect(textOf(rows().at(-1))).toContain('its questionId is that of an earlier question');
    expect(questions()).toHaveLength(1);
    await until(() => bench.delivered.length === 2, 'people are told');
  });

  test('that never reached its chat is not answered by words there', async () => {
    refusing = true;
    await say('ask q2 5 6');
    await until(() => rows().some(({ event_id }) => event_id.startsWith('dead/')), 'the question is given up');
    expect(questions()).toMatchObject([{ question_id: 'q1' }, { question_id: 'q2' }]);
    expect(contentOf(await say('5')).answer).toBeUndefined();
    expect(contentOf(await say('1')).answer).toMatchObject({ questionId: 'q1' });
  });
});
