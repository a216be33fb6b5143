import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ToolBench } from '../testing/tool-bench.ts';
import type { Choice } from './tool.ts';

let bench: ToolBench;
beforeEach(() => {
  bench = new ToolBench();
});
afterEach(() => bench.close());

const content = (): unknown => JSON.parse(bench.cell.sent().at(-1)?.content ?? '{}');
let calls = 0;
const use = (name: string, input: unknown, rowId = `t/1/${calls++}`) => bench.use(name, input, { rowId });

describe('edit_message', () => {
  test('writes an edit of an own text, once for a call however often it runs', async () => {
    await use('send_message', { text: 'helo' });
    for (let n = 0; n < 2; n += 1)
      expect(await use('edit_message', { message: 1, text: 'hello' }, 't/2/t0')).toEqual({
        isError: false,
        text: 'Message 1 is being edited.',
      });
    expect(bench.cell.sent().map(({ kind, in_reply_to, destination }) => [kind, in_reply_to, destination])).toEqual([
      ['chat', 2, null],
      ['edit', null, null],
    ]);
    expect(content()).toEqual({ target: 1, text: 'hello' });
  });

  test('refuses what is not an own text, and says which there are', async () => {
    const theirs = bench.cell.say('hi', { seq: 2 });
    bench.cell.inbound.prepare("UPDATE messages_in SET platform_message_id = 'p' WHERE seq = 2").run();
    await use('send_message', { text: 'one' });
    await use('add_reaction', { message: theirs, emoji: '👍' });
    await use('send_card', { title: 'Card' });
    const [, reaction, card] = bench.cell.sent();
    expect((await use('edit_message', { message: theirs, text: 'x' })).text).toContain("somebody else's");
    expect((await use('edit_message', { message: card?.seq, text: 'x' })).text).toContain('is not a text');
    for (const message of [reaction?.seq, 99, 100])
      expect((await use('edit_message', { message, text: 'x' })).text).toMatch(/^There is no message \d+ in a chat.*3 \("one"\)/);
    for (const input of [
      { message: 0, text: 'x' },
      { message: 1.5, text: 'x' },
      { message: 3, text: '' },
      { message: '3', text: 'x' },
    ])
      expect((await use('edit_message', input)).text).toContain('does not fit');
    bench.cell.inbound
      .prepare("INSERT INTO delivered (seq, lane, state, idempotency_key, created_at, updated_at) VALUES (3, 'l', 'dead', 'k', 0, 0)")
      .run();
    expect((await use('edit_message', { message: 3, text: 'x' })).text).toBe('Message 3 never reached its chat.');
    expect(bench.cell.sent()).toHaveLength(3);
  });
});

describe('add_reaction', () => {
  test('reacts to messages of people and to own ones, with one emoji in its coloured form', async () => {
    bench.cell.say('hi', { seq: 2 });
    bench.cell.inbound.prepare("UPDATE messages_in SET platform_message_id = 'p' WHERE seq = 2").run();
    await use('send_message', { text: 'one' });
    for (const [message, emoji, whole] of [
      [2, '👍', '👍'],
      [3, '❤', '❤️'],
      [2, '👩‍🔬', '👩‍🔬'],
      [2, '🇨🇭', '🇨🇭'],
    ]) {
      expect((await use('add_reaction', { message, emoji })).isError).toBe(false);
      expect(content()).toEqual({ target: message, emoji: whole });
    }
    for (const emoji of ['thumbsup', '👍👍', 'x', '<b>'])
      expect((await use('add_reaction', { message: 2, emoji })).text).toContain('is not one emoji');
  });

  test('refuses a row that is on no platform', async () => {
    bench.cell.say('a task', { seq: 4, kind: 'task', channel: null, chat: null });
    expect((await use('add_reaction', { message: 4, emoji: '👍' })).text).toContain('There is no message 4');
  });
});

describe('ask_user_question', () => {
  const question = { question: 'Deploy?', options: ['Yes', 'No'], title: 'Release' };
  const asked: [string, number][] = [];
  const ask = (choice: Choice | undefined, input: unknown = question) =>
    bench.use('ask_user_question', input, {
      rowId: 't/1/q',
      waitForAnswer: async (id, until) => {
        asked.push([id, until]);
        return choice;
      },
    });

  test('writes the question once, waits five minutes, and tells the choice and who made it', async () => {
    const choice = { questionId: 't/1/q', questionSeq: 1, title: 'Release', value: 'No', label: 'No', by: 'Ann' };
    expect(await ask(choice)).toEqual({ isError: false, text: 'Ann chose: No' });
    expect(await ask({ ...choice, by: '' })).toEqual({ isError: false, text: 'Somebody chose: No' });
    expect(bench.cell.sent()).toMatchObject([{ kind: 'question', in_reply_to: 2 }]);
    const { expiresAt, ...rest } = content() as { expiresAt: number };
    expect(rest).toEqual({
      questionId: 't/1/q',
      title: 'Release',
      text: 'Deploy?',
      options: [
        { label: 'Yes', value: 'Yes' },
        { label: 'No', value: 'No' },
      ],
    });
    expect(asked[0]).toEqual(['t/1/q', expiresAt]);
    expect(bench.toolbox.deadlineMs('ask_user_question', question)).toBeGreaterThan(300_000);
  });

  test('without an answer tells the model to end its turn, after a shorter wait if it wants that', async () => {
    asked.length = 0;
    const before = Date.now();
    expect((await ask(undefined, { ...question, wait_seconds: 20 })).text).toContain('End your turn now');
    expect((asked[0]?.[1] ?? 0) - before).toBeLessThan(200_000);
    expect(bench.toolbox.deadlineMs('ask_user_question', { ...question, wait_seconds: 20 })).toBe(30_000);
    for (const wait_seconds of [-1, 301, 0.5]) expect((await ask(undefined, { ...question, wait_seconds })).text).toContain('does not fit');
  });

  test.each([
    [['only one']],
    [Array.from({ length: 11 }, (_, n) => `option ${n}`)],
    [['same', 'Same']],
    [['', 'x']],
    [['x'.repeat(76), 'y']],
    [['\t', 'y']],
  ])('refuses options that no buttons can show: %j', async (options) => {
    expect((await ask(undefined, { question: 'x', options })).text).toContain('does not fit');
    expect(bench.cell.sent()).toEqual([]);
  });
});

describe('send_card', () => {
  test('makes the fallback of what it shows, and takes only links that are links', async () => {
    const card = {
      title: 'Order',
      text: 'On its *way*',
      fields: [{ label: 'Total', value: '5 €' }],
      links: [{ label: 'Track', url: 'https://example.com/1' }],
    };
    expect((await use('send_card', { ...card, to: 'ops' })).text).toBe('Sent as message 1.');
    expect(bench.cell.sent()[0]).toMatchObject({ kind: 'card', destination: 'ops' });
    expect(content()).toEqual({ ...card, fallback: '**Order**\n\nOn its *way*\n\n**Total:** 5 €\n\n[Track](https://example.com/1)' });
    await use('send_card', { title: 'Only', fallback: 'mine' });
    expect(content()).toEqual({ title: 'Only', text: '', fallback: 'mine' });
    for (const url of ['javascript:alert(1)', 'file:///etc/passwd', 'no url'])
      expect((await use('send_card', { title: 'x', links: [{ label: 'x', url }] })).text).toContain('does not fit');
  });
});
