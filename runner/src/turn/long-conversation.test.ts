/** What only a long conversation shows: that it survives any number of deaths, and outgrows no model. With the real process. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { CRASH_POINTS } from '../lifecycle/crash-point.ts';
import type { TestCell } from '../testing/cell.ts';
import { until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';
import { COMPACTED } from './sentences.ts';

/** On a machine that is busy with other tests; a tenth of it on one that is not. */
const PATIENT_MS = 600_000;
const KILLS = 50;
const SEED = 20_261_128;

const running = new Running();
afterEach(() => running.close());

/** The same numbers in each run. 0 <= x < 1 */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

/** Four steps with tools of every kind: one that may be repeated, one that may not, one that sends. */
const script = (n: number): string =>
  [
    `tool write_file {"path":"${n}.txt","content":"one"}`,
    `tool exec {"command":"echo ${n} >> runs.txt; sleep 0.02"}`,
    `also edit_file {"path":"${n}.txt","old_text":"one","new_text":"two"}`,
    `tool send_message {"text":"half of ${n}."}`,
    'sleep 20ms',
    `say end of ${n}.`,
  ].join('\n');

/** People go on talking: whenever all is answered, one of them sets a task, and at times another says something beside it. */
class People {
  readonly said: number[] = [];
  tasks = 0;
  readonly #cell: TestCell;
  readonly #random: () => number;

  constructor(cell: TestCell, random: () => number) {
    this.#cell = cell;
    this.#random = random;
  }
  get answered(): boolean {
    const done = new Set(this.#cell.acks().flatMap((ack) => (ack.state === 'done' ? [ack.in_seq] : [])));
    return this.said.every((seq) => done.has(seq)) && this.#cell.turns().every(({ state }) => state !== 'running');
  }
  goOn(): void {
    if (!this.answered) return;
    this.tasks += 1;
    this.said.push(this.#cell.say(script(this.said.length + 1)));
    if (this.#random() < 0.3) this.said.push(this.#cell.say(`say end of ${this.said.length + 1}.`));
  }
}

interface AnyBlock {
  readonly type: string;
  readonly id?: string;
  readonly toolUseId?: string;
}

describe('a long conversation', () => {
  test(
    `whose runner is killed at ${KILLS} random moments has every finished step once, and answers each message once`,
    async () => {
      const cell = running.cell();
      const random = seeded(SEED);
      const people = new People(cell, random);
      const points = CRASH_POINTS.filter((point) => point !== 'runner/before-drained');
      for (let kill = 0; kill < KILLS; kill += 1) {
        const [kind, where, when] = [random(), random(), random()];
        const steps = cell.history().length;
        // By name, exactly there in each run; else at any moment once it has got on, so that no message dies five times.
        const named = kind < 0.5 ? [`${points[Math.floor(where * points.length)]}#${2 + Math.floor(when * 3)}`] : [];
        const runner = running.start(cell, ['--retry-ms', '5', ...named.flatMap((point) => ['--crash-at', point])]);
        let over = false;
        void runner.ended.then(() => {
          over = true;
        });
        await until(
          `kill ${kill}`,
          () => {
            people.goOn();
            return over || (named.length === 0 && cell.history().length > steps);
          },
          60_000,
        );
        if (!over) await new Promise((resolve) => setTimeout(resolve, Math.floor(when * 120)));
        runner.kill('SIGKILL');
        expect((await runner.ended).signal).toBe('SIGKILL');
      }
      const last = running.start(cell, ['--retry-ms', '5']);
      people.goOn(); // had the one before answered all, this one would be told to end before it can hear that
      await until('everything is answered', () => people.answered);
      expect(await last.drain()).toEqual({ code: 0, signal: null });

      const history = cell.history();
      expect(people.tasks).toBeGreaterThan(8);
      expect(cell.acks().map((ack) => [ack.in_seq, ack.state])).toEqual(people.said.map((seq) => [seq, 'done']));
      const steps = history.filter(({ role }) => role === 'assistant').map((row) => `${row.turn_id}/${row.step}`);
      expect(new Set(steps).size).toBe(steps.length);
      expect(history.flatMap(({ in_seq }) => (in_seq === null ? [] : [in_seq])).sort((a, b) => a - b)).toEqual(people.said);
      const blocks = history.flatMap(({ content }) => JSON.parse(content) as AnyBlock[]);
      const uses = blocks.flatMap(({ type, id }) => (type === 'tool_use' ? [id] : []));
      expect(uses).toHaveLength(4 * people.tasks);
      expect(blocks.flatMap(({ type, toolUseId }) => (type === 'tool_result' ? [toolUseId] : [])).sort()).toEqual(uses.sort());
      const texts = cell.texts().join('\n');
      for (let n = 1; n <= people.said.length; n += 1) expect([n, texts.split(`end of ${n}.`).length - 1]).toEqual([n, 1]);
      const halves = texts.match(/half of \d+\./g) ?? [];
      expect([halves.length, new Set(halves).size]).toEqual([people.tasks, people.tasks]);
    },
    PATIENT_MS,
  );

  test(
    'of 500 turns stays within what its model reads, and remembers what was said in the third',
    async () => {
      // Each message in a chat of its own is a turn of its own.
      const cell = running.cell({ scope: '*' });
      const filler = 'So it goes. '.repeat(130);
      for (let n = 1; n < 500; n += 1) cell.say(n === 3 ? 'remember the heron' : `say ${n}: ${filler}`, { chat: `c${n}` });
      const runner = running.start(cell);
      await until('499 turns are over', () => cell.turns().length === 499 && cell.acks().length === 499, 120_000);
      const seq = cell.say('recall', { chat: 'c500' });
      await until('the last is answered', () => cell.acks().some((ack) => ack.in_seq === seq && ack.state === 'done'));
      await runner.drain();
      expect(cell.texts().at(-1)).toBe('I remember: the heron');
      expect(cell.texts().filter((text) => text === COMPACTED).length).toBeGreaterThan(1);
      expect(cell.history().filter(({ in_seq }) => in_seq !== null)).toHaveLength(500);
      // The demo provider counts a token for four characters of what it is asked.
      const largest = Math.max(...cell.usages().map(({ inputTokens }) => inputTokens * 4));
      expect(largest).toBeLessThan(800_000);
      expect(cell.history().reduce((sum, { content }) => sum + content.length, 0)).toBeGreaterThan(1_500_000);
    },
    PATIENT_MS,
  );
});
