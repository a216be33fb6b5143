/** What was refused waits, and goes on when it is said that there is room again: the real runner in front of the model's emulator. */

import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openOutboundWriter, RETRY, STATE_HELD } from '@dovecote/proto';
import { afterEach, expect, test } from '@jest/globals';
import { emulatedModel } from '../providers/anthropic/emulated-model.ts';
import { refuseWith } from '../providers/anthropic/proxy-stand-in.ts';
import type { TestCell } from '../testing/cell.ts';
import { until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';

const running = new Running();
afterEach(() => running.close());

/** Its own time never comes within a test. */
function waitForEver(cell: TestCell): void {
  const never = Date.now() + 86_400_000;
  const db = openOutboundWriter(cell.outboundPath);
  db.prepare("UPDATE acks SET next_try_at = ? WHERE state = 'interrupted'").run(never);
  db.prepare("UPDATE state SET value = json_set(value, '$.until', ?) WHERE key = ?").run(never, STATE_HELD);
  db.close();
}

const sayRetry = (cell: TestCell): number =>
  cell.say(RETRY, { lane: 'control', kind: 'system', channel: null, chat: null, sender_name: null });

test('a turn that is refused between two steps is kept as it is, and goes on from there at the word that there is room', async () => {
  const model = await emulatedModel();
  try {
    const sentence = 'The budget of this agent is used up until Monday.';
    const refuse = refuseWith(402, 'budget_exhausted', { 'x-dovecote-proxy': 'refused' }, sentence);
    const ofSecondStep = (): boolean => JSON.stringify(model.proxy.seen.at(-1)?.body['messages'] ?? '').includes('tool_result');
    model.proxy.fault = (response, nth) => ofSecondStep() && refuse(response, nth);
    const cell = running.cell({ agent: { provider: 'anthropic' } });
    cell.say('please read');
    const args = ['--proxy', model.proxy.url, '--proxy-token', model.tokenFile];
    const first = running.start(cell, args);
    await until('the turn is held', () => cell.state(STATE_HELD) !== undefined);
    expect(cell.texts()).toEqual([expect.stringContaining(sentence)]);
    expect(cell.turns()).toMatchObject([{ state: 'running', steps: 1 }]);
    expect((await first.drain()).code).toBe(0);
    waitForEver(cell);

    model.proxy.fault = () => false;
    const calls = model.proxy.seen.length;
    const heartbeat = join(cell.out, 'heartbeat');
    rmSync(heartbeat);
    running.start(cell, args);
    await until('it is up', () => existsSync(heartbeat));
    await new Promise((resolve) => setTimeout(resolve, 1_000)); // one that is not held would have asked by now
    expect(model.proxy.seen).toHaveLength(calls); // there is room, but nobody has said so
    const seq = sayRetry(cell);
    await until('it is answered', () => cell.texts().length === 2);
    expect(cell.texts()[1]).toBe('It says: the content');
    expect(cell.acks().find(({ in_seq }) => in_seq === seq)?.state).toBe('done');
    await until('the turn has ended', () => cell.turns()[0]?.state !== 'running');
    expect(cell.turns()).toMatchObject([{ state: 'done', steps: 2 }]); // the first step was not run again
  } finally {
    await model.close();
  }
});

test('a message that was refused is tried at the word that there is room, not at its own time', async () => {
  const cell = running.cell({ agent: { provider: 'nonsense' } });
  cell.say('say at last');
  const first = running.start(cell);
  await until('it waits', () => cell.acks()[0]?.state === 'interrupted');
  expect((await first.drain()).code).toBe(0);
  waitForEver(cell);
  cell.setAgent({ provider: 'demo' });
  running.start(cell);
  sayRetry(cell);
  await until('it is answered', () => cell.texts().includes('at last'));
});
