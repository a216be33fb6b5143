import { afterEach, describe, expect, test } from '@jest/globals';
import { CRASH_POINTS } from '../lifecycle/crash-point.ts';
import type { TestCell } from '../testing/cell.ts';
import { until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';

/** A conversation that uses tools, sends in mid-turn, gets messages in mid-turn and ends with something to answer for each. */
const SCRIPT = [
  'tool write_file {"path":"log.txt","content":"one"}',
  'tool exec {"command":"echo run >> runs.txt; sleep 0.02; cat log.txt"}',
  'tool send_message {"text":"half way"}',
  'tool edit_file {"path":"log.txt","old_text":"one","new_text":"two"}',
  'sleep 30ms',
  'say all done',
].join('\n');

const running = new Running();
afterEach(() => running.close());

function conversation(): { readonly cell: TestCell; readonly said: readonly number[] } {
  const cell = running.cell();
  return { cell, said: [cell.say('say hello one'), cell.say(SCRIPT), cell.say('say hello three')] };
}

function finished(cell: TestCell): boolean {
  return cell.acks().filter((ack) => ack.state === 'done').length === 3 && cell.turns().every((turn) => turn.state !== 'running');
}

/** The invariants of a finished conversation, however often its runner was killed. */
function expectWhole(cell: TestCell, said: readonly number[]): void {
  expect(cell.acks().map((ack) => [ack.in_seq, ack.state])).toEqual(said.map((seq) => [seq, 'done']));
  expect(cell.turns().filter((turn) => turn.state === 'running')).toEqual([]);
  const history = cell.history();
  // Each finished step is once in history: one assistant message per (turn, step), each inbound message once.
  const steps = history.filter((row) => row.role === 'assistant').map((row) => `${row.turn_id}/${row.step}`);
  expect(new Set(steps).size).toBe(steps.length);
  expect(history.flatMap((row) => (row.in_seq === null ? [] : [row.in_seq])).sort((a, b) => a - b)).toEqual(said);
  // Each tool call has exactly one result.
  const ids = (type: string): string[] =>
    history.flatMap((row) =>
      (JSON.parse(row.content) as { type: string; id?: string; toolUseId?: string }[]).flatMap((b) =>
        b.type === type ? [b.id ?? b.toolUseId ?? ''] : [],
      ),
    );
  expect(ids('tool_result').sort()).toEqual(ids('tool_use').sort());
  expect(ids('tool_use')).toHaveLength(4);
  // Each message is answered once, and what was sent at once was sent once.
  const text = cell.texts().join('\n');
  for (const once of ['hello one', 'hello three', 'half way', 'all done']) expect(text.split(once)).toHaveLength(2);
}

describe('a runner that is killed with SIGKILL', () => {
  const points = CRASH_POINTS.filter((point) => point !== 'runner/before-drained').flatMap((point) =>
    (point === 'runner/mid-step' || point.endsWith('step-commit') ? [1, 2, 3, 4] : [1]).map((nth) => [point, nth] as const),
  );

  test.each(points)(
    'at %s for the %i. time goes on where the finished steps end',
    async (point, nth) => {
      const { cell, said } = conversation();
      const killed = await running.start(cell, ['--crash-at', `${point}#${nth}`]).ended;
      expect(killed.signal).toBe('SIGKILL');
      const runner = running.start(cell);
      await until('every message is done', () => finished(cell));
      expect(await runner.drain()).toEqual({ code: 0, signal: null });
      expectWhole(cell, said);
    },
    60_000,
  );

  test('just before it says that it drained has lost nothing', async () => {
    const { cell, said } = conversation();
    const runner = running.start(cell, ['--crash-at', 'runner/before-drained']);
    await until('every message is done', () => finished(cell));
    expect((await runner.drain()).signal).toBe('SIGKILL');
    expectWhole(cell, said);
  });
});
