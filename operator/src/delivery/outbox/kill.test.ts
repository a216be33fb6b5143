import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { systemClock } from '../../lib/clock.ts';
import {
  type Bench,
  hear,
  ledgerOf,
  makeCell,
  makeFolder,
  messagesIn,
  openBench,
  RunnerHand,
  remove,
  rowOf,
  SESSION,
  until,
} from './testing/bench-cell.ts';
import { type ScriptedPlatform, startScriptedPlatform } from './testing/scripted-platform.ts';

const CHILD = new URL('./testing/kill-child.ts', import.meta.url).pathname;
let root: string;
let gateway: ScriptedPlatform;
let out: string;
/** what must arrive, by chat, in order */
let expected: Record<string, string[]>;
let asked: number;
let file: number;

beforeEach(async () => {
  root = makeFolder();
  gateway = await startScriptedPlatform();
  out = join(root, 'cells', SESSION, 'out');
  const before = openBench({ root, address: gateway.address });
  makeCell(before.cells);
  asked = hear(before.cells, { chat: 'room' });
  await before.close();
  const runner = new RunnerHand(root);
  runner.ack(asked, 'done');
  const keys = (seq: number, parts = 1): string[] => Array.from({ length: parts }, (_, part) => `${SESSION}/${seq}/${part}`);
  const first = runner.say({ replyTo: asked, text: 'first' });
  file = runner.say({
    replyTo: asked,
    kind: 'file',
    content: { path: `outbox/3/a.txt`, name: 'a.txt', mimeType: 'text/plain', sizeBytes: 5 },
  });
  const long = runner.say({ replyTo: asked, text: 'long' });
  const home = runner.say({ text: 'home' });
  runner.close();
  expect(file).toBe(3);
  mkdirSync(join(out, 'outbox', '3'));
  writeFileSync(join(out, 'outbox', '3', 'a.txt'), 'bytes');
  gateway.act = ({ content, part }) => ({ type: 'deliver', more: content.includes('long') && part < 2 });
  expected = { room: [...keys(first), ...keys(file), ...keys(long, 3)], home: keys(home) };
});
afterEach(async () => {
  await gateway.close();
  remove(root);
});

/** Resolves when the process has been killed by its own hand. */
function killedAt(point: string): Promise<NodeJS.Signals | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', CHILD, root, gateway.address, point], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
    });
    child.on('error', reject);
    child.on('exit', (_code, signal) => resolve(signal));
  });
}

async function finish(): Promise<Bench> {
  const bench = openBench({ root, address: gateway.address, clock: systemClock, limits: { inFlightMs: 100 } });
  await bench.outbox.resume(SESSION);
  await bench.outbox.read(SESSION);
  await until(() => bench.outbox.open(SESSION) === 0, 'an empty outbox');
  return bench;
}

describe('kill -9', () => {
  const points = [
    ['delivery/after-read-before-sending', 1],
    ['delivery/after-sending-before-call', 1],
    ['delivery/after-sending-before-call', 3],
    ['delivery/after-sending-before-call', 5],
    ['delivery/after-call-before-record', 1],
    ['delivery/after-call-before-record', 2],
    ['delivery/after-call-before-record', 3],
    ['delivery/after-call-before-record', 5],
    ['delivery/after-record-before-cleanup', 1],
    ['delivery/after-record-before-cleanup', 2],
    ['delivery/after-record-before-cleanup', 3],
    ['delivery/after-record-before-cleanup', 6],
  ] as const;
  test.each(points)('at %s, the %i. time: nothing is lost, nothing comes twice, order holds', async (point, nth) => {
    expect(await killedAt(`${point}#${nth}`)).toBe('SIGKILL');
    const bench = await finish();
    const keys = (chat: string): string[] => gateway.sent.filter((one) => one.chat === chat).map((one) => one.key);
    expect({ room: keys('room'), home: keys('home') }).toEqual(expected);
    expect(ledgerOf(bench.cells).map((row) => row.state)).toEqual(['delivered', 'delivered', 'delivered', 'delivered']);
    expect(JSON.parse(rowOf(bench.cells, file + 2).part_ids)).toHaveLength(3);
    expect(messagesIn(bench.cells)[0]?.status).toBe('done');
    expect(gateway.sent.find((one) => one.key === `${SESSION}/3/0`)?.file?.toString()).toBe('bytes');
    expect(existsSync(join(out, 'outbox', '3'))).toBe(false);
    await bench.close();
  });

  test('again and again while sending: every start asks about what the one before may have sent', async () => {
    for (let i = 0; i < 4; i++) expect(await killedAt('delivery/after-call-before-record#1')).toBe('SIGKILL');
    const bench = await finish();
    expect(gateway.sent.filter((one) => one.chat === 'room').map((one) => one.key)).toEqual(expected['room']);
    expect(gateway.settles.length).toBeGreaterThanOrEqual(4);
    await bench.close();
  });

  test('the file is still there until its delivery is recorded', async () => {
    await killedAt('delivery/after-call-before-record#3'); // the file's own call, or one beside it
    const db = new Sqlite(join(root, 'cells', SESSION, 'in', 'inbound.db'), { readonly: true });
    const state = db.prepare('SELECT state FROM delivered WHERE seq = 3').pluck().get();
    db.close();
    expect(existsSync(join(out, 'outbox', '3', 'a.txt'))).toBe(state !== 'delivered');
  });
});
