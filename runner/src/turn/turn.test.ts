import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { IDLE } from '../attach/progress.ts';
import { type Answer, ProviderError } from '../providers/provider.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { until } from '../testing/runner-process.ts';
import { calls, SessionBench, says } from '../testing/session-bench.ts';
import { defineTool } from '../tools/tool.ts';
import { CANNOT_COMPACT, COMPACTED, CUT_OFF, NO_ANSWER, NOTHING_TO_COMPACT, REFUSED } from './sentences.ts';
import { RESUME_STATE, type ResumeState } from './turn-state.ts';

let bench: SessionBench;
const make = (...args: ConstructorParameters<typeof SessionBench>): SessionBench => {
  bench = new SessionBench(...args);
  bench.start();
  return bench;
};
afterEach(() => bench.close());
const sent = (): [string | null, number | null, string][] =>
  bench.cell.sent().map((row) => [row.destination, row.in_reply_to, (JSON.parse(row.content) as { text: string }).text]);

describe('an answer', () => {
  test('goes to the chat of the message; named blocks to their destinations; what is internal nowhere', async () => {
    const { cell } = make([says('To you.<internal>hush</internal>\n<message to="ops">To ops.</message>')]);
    cell.addDestination('ops', 'c9');
    const seq = bench.say('hello');
    await bench.ended();
    expect(sent()).toEqual([
      ['ops', null, 'To ops.'],
      [null, seq, 'To you.'],
    ]);
    expect(cell.sent().map((row) => row.id)).toEqual([0, 1].map((n) => `${cell.turns()[0]?.id}/1/${n}`));
  });

  test('to a destination that does not exist is told to the model once, with those that do', async () => {
    const { cell } = make([says('Hi.<message to="opps">A</message>'), says('Hi.<message to="ops">A</message>')]);
    cell.addDestination('ops', 'c9');
    const seq = bench.say('hello');
    await bench.ended();
    expect(JSON.stringify(bench.requests[1]?.messages.at(-1))).toContain(
      'No such destination: opps. Nothing was sent there. There are: ops.',
    );
    expect(sent()).toEqual([
      ['ops', null, 'A'],
      [null, seq, 'Hi.'],
    ]);
  });

  test('to one that does not exist, beside a tool call, is told with the result of the call', async () => {
    make([calls('list_dir', {}, '<message to="x">A</message>'), says('done')]);
    bench.say('hello');
    await bench.ended();
    expect(bench.requests[1]?.messages.map((m) => m.role)).toEqual(['user', 'assistant', 'tool', 'user']);
    expect(JSON.stringify(bench.requests[1]?.messages.at(-1))).toContain(
      'No such destination: x. Nothing was sent there. There are no destinations.',
    );
    expect(bench.cell.history().map((row) => row.role)).toEqual(['user', 'assistant', 'tool', 'user', 'assistant']);
  });

  test('to one that still does not exist ends the turn, and people learn of it', async () => {
    make([says('<message to="x">A</message>'), says('Well.<message to="x">A</message>')]);
    bench.say('hello');
    await bench.ended();
    expect(sent().map(([, , text]) => text)).toEqual(['Well.\n\n(I could not send a message to "x": there is no such destination.)']);
    expect(bench.requests).toHaveLength(2);
  });

  test.each([
    ['nothing at all', says(''), [NO_ANSWER]],
    ['only what is kept back', says('<internal>nothing to say</internal>'), []],
    ['a refusal without words', says('', { stop: 'refused' }), [REFUSED]],
    ['a text that was cut off', says('So far', { stop: 'length' }), [`So far\n\n${CUT_OFF}`]],
  ])('that is %s', async (_what, reply, texts) => {
    make([reply]);
    bench.say('hello');
    await bench.ended();
    expect(bench.cell.texts()).toEqual(texts);
  });

  test('may be empty when a tool has said it, and when nobody asked', async () => {
    make([calls('send_message', { text: 'said by tool' }), says(''), says('')]);
    bench.say('hello');
    await bench.ended();
    bench.say('a note', { kind: 'system', channel: null, chat: null, sender_name: null });
    await bench.ended(2);
    expect(bench.cell.texts()).toEqual(['said by tool']);
  });

  test('that pauses goes on in the next step', async () => {
    make([says('part', { stop: 'paused' }), says('whole')]);
    bench.say('hello');
    await bench.ended();
    expect(bench.cell.texts()).toEqual(['whole']);
  });
});

describe('a turn', () => {
  test('ends with a sentence after its most steps, and the next message goes on', async () => {
    make([calls('list_dir', { path: '.' }), calls('list_dir', { path: '/workspace' }), says('next')], { agent: { maxSteps: 2 } });
    bench.say('go');
    await bench.ended();
    expect(bench.cell.texts()).toEqual([expect.stringContaining('I stopped after 2 steps')]);
    bench.say('more');
    await bench.ended(2);
    expect(bench.cell.texts()[1]).toBe('next');
    expect(bench.requests.at(-1)?.messages.map((m) => m.role)).toEqual([
      'user',
      'assistant',
      'tool',
      'assistant',
      'tool',
      'assistant',
      'user',
    ]);
  });

  test('ends with a sentence when it takes longer than it may', async () => {
    make([calls('list_dir', {}), says('never')], { agent: { turnTimeoutMs: -1 } });
    bench.say('go');
    await bench.ended();
    expect(bench.cell.texts()).toEqual([expect.stringContaining('longer than one turn may take')]);
  });

  test('that is stopped leaves a transcript in which each call has a result, and the model learns of the stop', async () => {
    const [first, second] = [calls('exec', { command: 'touch begun; sleep 60' }), calls('exec', { command: 'touch never' })];
    const { cell } = make([{ ...first, blocks: [...(first.blocks ?? []), ...(second.blocks ?? [])] }, says('next')]);
    bench.say('go');
    await until('the first runs', () => existsSync(join(cell.workspace, 'begun')));
    bench.say('/stop', { lane: 'control' });
    await bench.ended(1);
    bench.say('and now?');
    await bench.ended(2);
    const messages = bench.requests[1]?.messages ?? [];
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'tool', 'assistant', 'user']);
    expect(messages[3]?.blocks).toMatchObject([{ type: 'tool_result', text: 'Stopped by the user.' }]);
    expect(JSON.stringify(messages[4])).toContain('(Stopped by the user.)');
    expect(existsSync(join(cell.workspace, 'never'))).toBe(false);
  });

  test("that is refused in a later step leaves people's words and an error, in the same process too", async () => {
    make([calls('list_dir', {}), ProviderError.permanent('BadRequest', 'no'), says('fine')]);
    bench.say('bad words');
    await bench.ended(1);
    bench.say('good words');
    await bench.ended(2);
    const messages = bench.requests[2]?.messages ?? [];
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user']);
    expect(JSON.stringify(messages)).not.toContain('list_dir');
  });

  test.each([
    [0, 0],
    [1, 5_000],
    [2, 10_000],
    [3, 20_000],
  ])('that ended its process in one step %d times before and now again goes on after %d ms', async (before, wait) => {
    const clock = new ManualClock(1_780_000_000_000);
    bench = new SessionBench([says('at last')], {}, { clock });
    const seq = bench.cell.say('go');
    bench.put({
      history: [{ turn: 't1', step: 1, role: 'user', blocks: [{ type: 'text', text: 'go' }], inSeq: seq }],
      settle: { seqs: [seq], state: 'done', turn: 't1' },
      turn: { id: 't1', state: 'running', steps: 1 },
      state: before === 0 ? {} : { [RESUME_STATE]: { turn: 't1', step: 1, count: before } satisfies ResumeState },
    });
    bench.start();
    await clock.runUntil(() => bench.cell.texts().length === 1);
    expect(clock.now() - 1_780_000_000_000).toBe(wait);
  });

  test('that waits for its next try when its process is told to end waits as long in the next one, and no longer', async () => {
    const clock = new ManualClock(1_780_000_000_000);
    bench = new SessionBench([says('at last')], {}, { clock });
    bench.put({ turn: { id: 't1', state: 'running', steps: 1 }, state: { [RESUME_STATE]: { turn: 't1', step: 1, count: 2 } } });
    for (const _ of [1, 2, 3]) {
      bench.start();
      for (let n = 0; n < 20; n += 1) await new Promise(setImmediate);
      await bench.sleep();
    }
    bench.start();
    await clock.runUntil(() => bench.cell.turns()[0]?.state === 'done');
    expect(clock.now() - 1_780_000_000_000).toBe(10_000);
  });

  test('may wait for its provider for longer than it may take itself', async () => {
    const clock = new ManualClock(1_780_000_000_000);
    const busy = ProviderError.transient('RateLimited', 'busy', { retryAfterMs: 120_000 });
    make([calls('list_dir', {}), busy, calls('glob', { pattern: '*' }), says('done')], { agent: { turnTimeoutMs: 60_000 } }, { clock });
    bench.say('go');
    await clock.runUntil(() => bench.cell.turns()[0]?.state === 'done');
    expect(bench.cell.texts().at(-1)).toBe('done');
    expect(clock.now()).toBe(1_780_000_000_000 + 120_000);
  });

  test('is begun by the poll when no doorbell rings, while another message waits for its time', async () => {
    const clock = new ManualClock(1_780_000_000_000);
    make([says('now'), says('later')], {}, { clock });
    bench.say('later', { not_before: clock.now() + 3_600_000 });
    for (let n = 0; n < 20; n += 1) await new Promise(setImmediate);
    bench.cell.say('now');
    await clock.runUntil(() => bench.cell.texts().length === 1);
    expect(clock.now()).toBeLessThan(1_780_000_000_000 + 2_000);
  });

  test('tells a later deadline of a tool that shows signs of life', async () => {
    const clock = new ManualClock(1_780_000_000_000);
    const slow = defineTool({
      name: 'slow',
      description: 'For this test.',
      input: z.object({}),
      permission: 'always',
      repeatable: true,
      deadlineMs: () => 10_000,
      run: async (_input, { progressed, signal }) => {
        for (let n = 0; n < 3; n += 1) {
          await clock.sleep(8_000, signal);
          progressed();
          progressed(); // a moment later: nothing new
        }
        return 'slow but sure';
      },
    });
    make([calls('slow', {}), says('done')], {}, { clock, tools: [slow] });
    bench.say('go');
    await clock.runUntil(() => bench.cell.texts().length === 1);
    const deadlines = bench.progress.flatMap(({ activity, deadlineMs }) => (activity === 'slow' ? [deadlineMs - 1_780_000_000_000] : []));
    expect(deadlines).toEqual([10_000, 18_000, 26_000, 34_000]);
  });

  test('reads the newest hundred silent messages, is told how many it does not, and is done with all', async () => {
    const { cell } = make([says('read')]);
    cell.inbound.transaction(() => {
      for (let n = 0; n < 130; n += 1) cell.say(`quiet ${n}.`, { trigger: 0 });
    })();
    bench.say('now');
    await bench.ended();
    const read = JSON.stringify(bench.requests[0]?.messages);
    expect(read).toContain('30 earlier messages of this chat are left out.');
    expect([read.includes('quiet 29.'), read.includes('quiet 30.')]).toEqual([false, true]);
    expect(cell.acks().filter(({ state }) => state === 'done')).toHaveLength(131);
  });

  test('shows of an answer that was begun twice its second beginning alone', async () => {
    make(
      [],
      {},
      {
        provider: {
          async *stream({ attempt, purpose }) {
            if (purpose === 'title') throw ProviderError.permanent('BadRequest', 'no titles here');
            yield { type: 'text', text: attempt === 0 ? 'one half' : 'the whole' } as const;
            if (attempt === 0) throw ProviderError.transient('Network', 'cut', { retryAfterMs: 1 });
            yield { type: 'answer', ...says('the whole'), stop: 'end', model: 'm', usage: { inputTokens: 1, outputTokens: 1 } } as Answer;
          },
        },
      },
    );
    bench.say('go');
    await bench.ended();
    expect(bench.partials).toEqual(['one half', 'the whole']);
  });

  test('keeps the usage of each answer with it', async () => {
    make([calls('list_dir', {}), says('done', { usage: { inputTokens: 9, outputTokens: 8, cacheReadTokens: 7 } })]);
    bench.say('go');
    await bench.ended();
    expect(bench.cell.history().flatMap((row) => (row.usage === null ? [] : [JSON.parse(row.usage)]))).toEqual([
      { inputTokens: 1, outputTokens: 2 },
      { inputTokens: 9, outputTokens: 8, cacheReadTokens: 7 },
    ]);
  });

  test('gives the model its mistakes back: malformed input, an unknown tool', async () => {
    make([calls('read_file', '{"path'), calls('fly', {}), says('done')]);
    bench.say('go');
    await bench.ended();
    const results = bench.cell
      .history()
      .flatMap((row) => (row.role === 'tool' ? [(JSON.parse(row.content) as { text: string }[])[0]?.text] : []));
    expect(results).toEqual([expect.stringContaining('not valid JSON'), expect.stringContaining('There is no tool named fly')]);
  });

  const tooLong = ProviderError.permanent('BadRequest', 'prompt is too long');

  test('goes on with its older half summed up when the conversation is longer than the model can read', async () => {
    make([says('a'.repeat(40_000)), says('b'.repeat(40_000)), tooLong, says('a < b'), says('short again'), says('still short')]);
    for (const [index, text] of ['one', 'two', 'three', 'four'].entries()) {
      bench.say(text);
      await bench.ended(index + 1);
    }
    expect(bench.cell.texts().slice(2)).toEqual([COMPACTED, 'short again', 'still short']);
    const [, , , summary, next, last] = bench.requests;
    expect(summary).toMatchObject({ purpose: 'summary', tools: [] });
    expect(JSON.stringify(summary?.messages)).toContain('a'.repeat(40_000));
    const beginning = { role: 'user', turn: '', blocks: [{ type: 'text', text: '<summary>a &lt; b</summary>' }] };
    expect(next?.messages[0]).toEqual(beginning);
    expect(last?.messages.slice(0, next?.messages.length)).toEqual(next?.messages); // the prefix stays the same
    expect(bench.requests.map((request) => request.messages.length)).toEqual([1, 3, 5, 1, 4, 6]);
    expect(bench.cell.history()).toHaveLength(8); // nothing is removed
    expect(bench.cell.acks().every((ack) => ack.state === 'done')).toBe(true);
  });

  test('goes on with its older half left out when no summary can be had', async () => {
    const refused = ProviderError.permanent('TooLarge', 'this one too');
    make([says('a'.repeat(40_000)), says('b'.repeat(40_000)), tooLong, refused, says('short again')]);
    for (const [index, text] of ['one', 'two', 'three'].entries()) {
      bench.say(text);
      await bench.ended(index + 1);
    }
    expect(bench.cell.texts().slice(2)).toEqual(['short again']);
    expect(bench.requests.map((request) => request.messages.length)).toEqual([1, 3, 5, 1, 3]);
  });

  test.each([
    ['stops because of it', { blocks: [], stop: 'context' as const }],
    ['refuses it', tooLong],
  ])('goes on with its older half summed up when the model %s', async (_how, refusal) => {
    make([says('a'.repeat(40_000)), says('b'.repeat(40_000)), refusal, says('a and b'), says('short again')]);
    for (const [index, text] of ['one', 'two', 'three'].entries()) {
      bench.say(text);
      await bench.ended(index + 1);
    }
    expect(bench.cell.texts().slice(2)).toEqual([COMPACTED, 'short again']);
    expect(bench.requests.map(({ purpose }) => purpose)).toEqual([undefined, undefined, undefined, 'summary', undefined]);
  });

  test('is refused at once when a bad request cannot be for its length', async () => {
    make([says('noted'), says('that too'), says('and that'), tooLong, says('fine')]);
    for (const [index, text] of ['one', 'two', 'three', 'four', 'five'].entries()) {
      bench.say(text);
      await bench.ended(index + 1);
    }
    expect(bench.cell.turns().map(({ state }) => state)).toEqual(['done', 'done', 'done', 'failed', 'done']);
    expect(bench.requests).toHaveLength(5);
  });

  test.each([
    ['makes room before it asks for more than its provider takes', false, ['summary']],
    ['leaves that to a provider that does it itself', true, []],
  ])('%s', async (_what, compactsItself, summaries) => {
    const provider = { transcriptChars: 50_000, compactsItself: () => compactsItself };
    make([says('a'.repeat(40_000)), says('b'.repeat(40_000)), says('third'), says('fourth')], {}, { provider });
    for (const [index, text] of ['one', 'two', 'three'].entries()) {
      bench.say(text);
      await bench.ended(index + 1);
    }
    expect(bench.requests.flatMap(({ purpose }) => (purpose === 'summary' ? [purpose] : []))).toEqual(summaries);
  });

  test('sums up what was said on demand, and goes on from there', async () => {
    make([says('noted'), says('They like teal.'), says('teal')]);
    bench.say('/compact', { lane: 'control' });
    await bench.ended(1);
    expect(bench.cell.texts()).toEqual([NOTHING_TO_COMPACT]);
    bench.say('I like teal');
    await bench.ended(2);
    bench.say('/compact please', { lane: 'control' });
    await bench.ended(3);
    bench.say('What do I like?');
    await bench.ended(4);
    expect(bench.cell.texts()).toEqual([NOTHING_TO_COMPACT, 'noted', COMPACTED, 'teal']);
    expect(bench.requests.at(-1)?.messages).toMatchObject([
      { blocks: [{ text: '<summary>They like teal.</summary>' }] },
      { blocks: [{ text: expect.stringContaining('What do I like?') }] },
    ]);
    expect(bench.cell.acks().map(({ state, tries }) => [state, tries])).toEqual([
      ['done', 1],
      ['done', 1],
      ['done', 1],
      ['done', 1],
    ]);
  });

  test.each(['BadRequest', 'Unauthenticated'] as const)(
    'of which no summary can be had on demand (%s) stays as it was, and says so',
    async (reason) => {
      make([says('noted'), ...Array(reason === 'BadRequest' ? 1 : 3).fill(ProviderError.permanent(reason, 'no'))]);
      bench.say('I like teal');
      await bench.ended(1);
      bench.say('/compact', { lane: 'control' });
      await bench.ended(2);
      bench.say('What do I like?');
      await bench.ended(3);
      expect(bench.cell.texts().slice(0, 2)).toEqual(['noted', CANNOT_COMPACT]);
      expect(bench.requests.at(-1)?.messages).toHaveLength(3);
    },
  );

  test('tells what it does, and that it is idle when it is over', async () => {
    make([calls('list_dir', {}), says('done')]);
    bench.say('go');
    await bench.ended();
    await until('it is idle', () => bench.progress.at(-1)?.phase === 'idle');
    expect(bench.progress.map((p) => [p.phase, p.activity])).toEqual([
      ['turn', 'model'],
      ['turn', 'list_dir'],
      ['turn', 'model'],
      [IDLE.phase, IDLE.activity],
    ]);
  });

  test('reads the agent as it is at each step', async () => {
    const { cell } = make([
      () => {
        cell.setAgent({ instructions: 'Speak in rhymes.', tools: ['list_dir'] });
        return calls('list_dir', {});
      },
      says('done'),
    ]);
    bench.say('go');
    await bench.ended();
    expect(bench.requests.map((request) => [request.system.includes('rhymes'), request.tools.length > 1])).toEqual([
      [false, true],
      [true, false],
    ]);
  });

  describe.each([
    ['edited', "UPDATE messages_in SET content = json_object('text', 'new words') WHERE seq = 2", 'It now reads: new words'],
    [
      'deleted',
      "UPDATE messages_in SET content = json_object('text', ''), status = 'done', trigger = 0 WHERE seq = 2",
      'Message 2 was deleted while you read it.',
    ],
  ])('a message that is %s after it was read and before delivery can see that', (_what, sql, told) => {
    const edit = (point: string): void => {
      if (point === 'runner/after-read-before-claim' && bench.requests.length === 0) bench.cell.inbound.exec(sql);
    };

    test('while the model answers: the same turn is told with its next step', async () => {
      make([
        async () => {
          await until('the claim is committed by itself', () => bench.cell.acks().length > 0);
          await new Promise(setImmediate);
          return calls('list_dir', {});
        },
        says('answer'),
      ]);
      bench.reached = edit;
      bench.say('old words');
      await bench.ended();
      expect(bench.requests.map((request) => JSON.stringify(request.messages).includes(told))).toEqual([false, true]);
    });

    test('and answered at once: the next turn is told', async () => {
      make([says('answer'), says('more')]);
      bench.reached = edit;
      bench.say('old words');
      await bench.ended();
      bench.say('and now?');
      await bench.ended(2);
      expect(bench.requests.map((request) => JSON.stringify(request.messages).includes(told))).toEqual([false, true]);
      expect(bench.cell.acks().map(({ state }) => state)).toEqual(['done', 'done']);
    });
  });

  test('answers a task at the place that answers go to when they reply to nothing', async () => {
    make([says('report')]);
    bench.say('do it', { kind: 'task', channel: null, chat: null, sender_name: null });
    await bench.ended();
    expect(sent()).toEqual([[null, null, 'report']]);
  });
});
