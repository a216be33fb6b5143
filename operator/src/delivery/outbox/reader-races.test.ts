import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
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
  SESSION,
  until,
} from './testing/bench-cell.ts';
import { type ScriptedPlatform, startScriptedPlatform } from './testing/scripted-platform.ts';

let root: string;
let gateway: ScriptedPlatform;
let bench: Bench;
let path: string;

beforeEach(async () => {
  root = makeFolder();
  gateway = await startScriptedPlatform();
  bench = openBench({ root, address: gateway.address, clock: systemClock });
  makeCell(bench.cells);
  path = join(root, 'cells', SESSION, 'out', 'outbound.db');
});
afterEach(async () => {
  await bench.close();
  await gateway.close();
  remove(root);
});

test('a runner that commits all the time and a reader that looks all the time lose nothing and fail at nothing', async () => {
  const rows = 300;
  for (let i = 0; i < rows; i++) hear(bench.cells);
  new RunnerHand(root).close();
  // Another thread, because within one both sides would take turns.
  const writer = new Worker(
    `const { workerData, parentPort } = require('node:worker_threads');
     const Sqlite = require(workerData.sqlite);
     const db = new Sqlite(workerData.path, { timeout: 5000 });
     db.pragma('synchronous = FULL');
     const out = db.prepare("INSERT INTO messages_out (seq, id, kind, content, created_at) VALUES (?, ?, 'chat', ?, 1)");
     const ack = db.prepare("INSERT INTO acks (in_seq, state, turn_id, at) VALUES (?, 'done', 't', 1)");
     for (let i = 0; i < workerData.rows; i++)
       db.transaction(() => { out.run(2 * i + 1, String(i), JSON.stringify({ text: String(i) })); ack.run(2 * i + 2); })();
     db.close();
     parentPort.postMessage('done');`,
    { eval: true, workerData: { path, rows, sqlite: join(process.cwd(), 'node_modules/better-sqlite3') } },
  );
  let written = false;
  const ended = new Promise<void>((resolve, reject) => {
    writer.once('message', () => resolve());
    writer.once('error', reject);
  }).then(() => {
    written = true;
  });
  const done: number[] = [];
  while (!written) {
    done.push(...(await bench.outbox.read(SESSION)).done);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await ended;
  done.push(...(await bench.outbox.read(SESSION)).done);
  await until(() => bench.outbox.open(SESSION) === 0);
  expect(bench.hostile).toEqual([]);
  expect(gateway.texts()).toEqual(Array.from({ length: rows }, (_, i) => String(i)));
  expect(done).toHaveLength(rows);
  expect(messagesIn(bench.cells).every((row) => row.status === 'done')).toBe(true);
  await writer.terminate();
});

test('a runner killed in mid-transaction: what it had committed is known, its file is no fault, and after the recovery all goes on', async () => {
  const runner = new RunnerHand(root);
  runner.say({ text: 'committed' });
  await bench.outbox.read(SESSION);
  await until(() => gateway.texts().length === 1);
  runner.say({ text: 'also committed' });
  // The half-written transaction of a process that is gone: its pages and its journal, without its locks.
  runner.db.pragma('cache_size = 1');
  runner.db.exec('BEGIN');
  for (let i = 0; i < 200; i++) runner.say({ text: 'x'.repeat(2_000) });
  expect(existsSync(`${path}-journal`)).toBe(true);
  for (const suffix of ['', '-journal']) copyFileSync(path + suffix, join(root, `copy${suffix}`));
  runner.db.exec('ROLLBACK');
  runner.close();
  bench.cells.release(SESSION);
  for (const suffix of ['', '-journal']) copyFileSync(join(root, `copy${suffix}`), path + suffix);

  expect(await bench.outbox.read(SESSION)).toMatchObject({ newRows: 0 });
  expect(bench.hostile).toEqual([]);
  bench.cells.recover(SESSION); // once its Pod is gone
  expect(await bench.outbox.read(SESSION)).toMatchObject({ newRows: 1 });
  await until(() => gateway.texts().length === 2);
  expect(gateway.texts()).toEqual(['committed', 'also committed']);

  const next = new RunnerHand(root);
  next.say({ text: 'the next runner' });
  next.close();
  await bench.outbox.read(SESSION);
  await until(() => gateway.texts().length === 3 && bench.outbox.open(SESSION) === 0);
  expect(ledgerOf(bench.cells).every((row) => row.state === 'delivered')).toBe(true);
});
