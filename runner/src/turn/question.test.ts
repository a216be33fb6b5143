/** A tool that waits for people: with the real process, and over days with a clock of the test's own. */
import { afterEach, describe, expect, test } from '@jest/globals';
import type { TestCell } from '../testing/cell.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';
import { calls, SessionBench, says } from '../testing/session-bench.ts';

const PATIENT_MS = 120_000;
const ASK = 'tool ask_user_question {"title":"Colour","question":"Which?","options":["Red","Blue"]}\nsay got: {result}';

const running = new Running();
afterEach(() => running.close());

interface Question {
  readonly seq: number;
  readonly id: string;
  readonly expiresAt: number;
}

async function asked(cell: TestCell): Promise<Question> {
  const question = (): Question | undefined => {
    const row = cell.sent().find(({ kind }) => kind === 'question');
    return row && { seq: row.seq, ...(JSON.parse(row.content) as { expiresAt: number }), id: row.id };
  };
  await until('it has asked', () => question() !== undefined, PATIENT_MS);
  return question() ?? { seq: 0, id: '', expiresAt: 0 };
}

/** As delivery stores a choice. */
function choose(cell: TestCell, { id, seq }: Question, label: string): number {
  const answer = { questionId: id, questionSeq: seq, title: 'Colour', value: label, label, by: 'Ann' };
  return cell.say(label, { lane: 'control', content: { answer } });
}

describe('a question', () => {
  test(
    'is waited for over a kill and a drain, asked once, with the deadline it had; its answer is done with the result of the call',
    async () => {
      const cell = running.cell();
      cell.say(ASK);
      const first = running.start(cell);
      const question = await asked(cell);
      first.kill('SIGKILL');
      await first.ended;
      const second = running.start(cell);
      await until('the turn is taken up', () => cell.state('resume') !== undefined, PATIENT_MS);
      expect((await second.drain()).code).toBe(0);
      expect(cell.turns()).toMatchObject([{ state: 'running', steps: 1 }]);
      const answer = choose(cell, question, 'Blue');
      running.start(cell);
      await until('it is answered', () => cell.texts().length > 0, PATIENT_MS);
      expect(cell.texts()).toEqual([expect.stringMatching(/^got: .*Blue/)]);
      expect(await asked(cell)).toEqual(question);
      expect(cell.sent().filter(({ kind }) => kind === 'question')).toHaveLength(1);
      expect(cell.acks().find(({ in_seq }) => in_seq === answer)).toMatchObject({ state: 'done' });
      expect(cell.history().map(({ in_seq }) => in_seq)).not.toContain(answer); // it is the tool's result, not a message
    },
    PATIENT_MS,
  );

  test('that a drain cut is waited for in the next process no longer than it was to be', async () => {
    const clock = new ManualClock(1_780_000_000_000);
    const input = { question: 'Which?', options: ['Red', 'Blue'], wait_seconds: 20 };
    const bench = new SessionBench([calls('ask_user_question', input), says('I wait.')], {}, { clock });
    try {
      bench.start();
      bench.say('paint it');
      await clock.runUntil(() => clock.now() >= 1_780_000_000_000 + 15_000);
      await bench.sleep();
      bench.start();
      await clock.runUntil(() => bench.cell.texts().length === 1);
      expect(clock.now()).toBe(1_780_000_000_000 + 20_000);
    } finally {
      await bench.close();
    }
  });

  test.each([
    ['five minutes', {}, 300_000],
    ['as long as the model said', { wait_seconds: 20 }, 20_000],
  ])(
    'is waited for %s; then the turn ends, the session sleeps, and an answer two days later is answered in a turn of its own',
    async (_, wait, ms) => {
      const clock = new ManualClock(1_780_000_000_000);
      const input = { title: 'Colour', question: 'Which?', options: ['Red', 'Blue'], ...wait };
      const bench = new SessionBench(
        [calls('ask_user_question', input), says('I wait for your choice.'), says('Red it is.')],
        {},
        { clock },
      );
      const { cell } = bench;
      try {
        bench.start();
        bench.say('paint it');
        await clock.runUntil(() => cell.turns()[0]?.state === 'done');
        const question = await asked(cell);
        expect(clock.now()).toBe(question.expiresAt);
        expect(question.expiresAt).toBe(1_780_000_000_000 + ms);
        expect(JSON.stringify(bench.requests[1]?.messages.at(-1))).toContain('Nobody has answered yet. End your turn now');
        expect(cell.texts()).toEqual(['I wait for your choice.']);
        await bench.sleep();

        clock.advance(2 * 86_400_000);
        const answer = choose(cell, question, 'Red');
        bench.start();
        await clock.runUntil(() => cell.texts().length === 2);
        expect(cell.texts()[1]).toBe('Red it is.');
        const row = cell.history().find(({ in_seq }) => in_seq === answer);
        expect(row?.turn_id).not.toBe(cell.turns()[0]?.id);
        expect(row?.content).toContain('<answer id=');
        expect(row?.content).toContain('question=\\"Colour\\"');
        expect(cell.acks().find(({ in_seq }) => in_seq === answer)).toMatchObject({ state: 'done' });
        expect(cell.sent().filter(({ kind }) => kind === 'question')).toHaveLength(1);
      } finally {
        await bench.close();
      }
    },
  );
});
