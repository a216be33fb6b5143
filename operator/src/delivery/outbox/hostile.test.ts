import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { systemClock } from '../../lib/clock.ts';
import {
  type Bench,
  hear,
  ledgerOf,
  makeCell,
  makeFolder,
  messagesIn,
  notices,
  openBench,
  RunnerHand,
  remove,
  rowOf,
  SESSION,
  until,
} from './testing/bench-cell.ts';
import { type ScriptedPlatform, startScriptedPlatform } from './testing/scripted-platform.ts';

const GOOD = 'good-abcdefghij';
let root: string;
let gateway: ScriptedPlatform;
let bench: Bench;
let path: string;

beforeEach(async () => {
  root = makeFolder();
  gateway = await startScriptedPlatform();
  bench = openBench({ root, address: gateway.address, clock: systemClock });
  makeCell(bench.cells);
  makeCell(bench.cells, GOOD);
  path = join(root, 'cells', SESSION, 'out', 'outbound.db');
});
afterEach(async () => {
  await bench.close();
  await gateway.close();
  remove(root);
});

/** A runner that wrote one message and went. */
function oneMessage(): void {
  const runner = new RunnerHand(root);
  runner.say({ text: 'from the bad one' });
  runner.close();
}

/** The session beside it lives on. */
async function expectOthersUnharmed(): Promise<void> {
  const runner = new RunnerHand(root, GOOD);
  runner.say({ text: 'from the good one' });
  runner.close();
  await bench.outbox.read(GOOD);
  await until(() => gateway.texts().includes('from the good one'));
  expect(bench.hostile.filter(({ session }) => session === GOOD)).toEqual([]);
}

async function expectRefused(sentence: RegExp): Promise<void> {
  expect(await bench.outbox.read(SESSION)).toMatchObject({ newRows: 0, done: [], failed: [] });
  expect(bench.hostile.map(({ session }) => session)).toEqual([SESSION]);
  expect(bench.hostile[0]?.error.message).toMatch(sentence);
  await bench.outbox.read(SESSION);
  expect(bench.hostile).toHaveLength(1); // told once, not at every look
  await expectOthersUnharmed();
}

/** As the agent may: with its own SQLite, no rules. */
function tamper(work: (db: Sqlite.Database) => void): void {
  const db = new Sqlite(path);
  db.unsafeMode(true);
  work(db);
  db.close();
}

/** Writes values that the schema forbids, and leaves the schema as it was. */
function withoutTypes(work: (db: Sqlite.Database) => void): void {
  const set = (from: string, to: string): void =>
    tamper((db) => {
      db.pragma('writable_schema = ON');
      db.prepare("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name IN ('messages_out', 'acks')").run(from, to);
    });
  set(') STRICT', ')');
  tamper((db) => {
    db.pragma('ignore_check_constraints = ON');
    work(db);
  });
  set(')', ')'); // a change of nothing: bumps nothing
  tamper((db) => {
    db.pragma('writable_schema = ON');
    db.prepare("UPDATE sqlite_schema SET sql = sql || ' STRICT' WHERE name IN ('messages_out', 'acks') AND sql NOT LIKE '% STRICT'").run();
  });
}

describe('a crafted outbound.db harms only its own session', () => {
  test('in WAL mode', async () => {
    oneMessage();
    tamper((db) => db.pragma('journal_mode = WAL'));
    await expectRefused(/WAL/);
  });

  test('turned to WAL after it was looked at: no shared memory of the agent is mapped, and it is read again when it is mended', async () => {
    const runner = new RunnerHand(root);
    runner.say({ text: 'one' });
    await bench.outbox.read(SESSION);
    runner.say({ text: 'two' });
    const fd = openSync(path, 'r+');
    const outbound = bench.cells.open(SESSION).outbound();
    expect(outbound).toBeDefined();
    // Between peekOutbound and SQLite's own look: here the look through the handle that is open.
    writeSync(fd, Buffer.from([2, 2]), 0, 2, 18);
    const { readOutbound } = await import('@dovecote/proto');
    expect(
      () => outbound !== undefined && readOutbound(outbound, () => outbound.prepare('SELECT count(*) FROM messages_out').get()),
    ).toThrow();
    expect(existsSync(`${path}-shm`)).toBe(false);
    await expectRefused(/WAL/);
    writeSync(fd, Buffer.from([1, 1]), 0, 2, 18);
    await bench.outbox.read(SESSION);
    await until(() => gateway.texts().includes('two'));
    runner.say({ text: 'three' }); // our failed look holds no lock on its file
    runner.close();
  });

  test.each([
    ['a view', 'CREATE VIEW v AS SELECT 1'],
    ['a trigger', 'CREATE TRIGGER t AFTER INSERT ON acks BEGIN SELECT 1; END'],
    ['a view in the place of a table', 'DROP TABLE messages_out; CREATE VIEW messages_out AS SELECT 1 AS seq'],
    ['another schema', 'ALTER TABLE messages_out ADD COLUMN more TEXT'],
    ['a table less', 'DROP TABLE acks'],
    ['a far newer version', 'PRAGMA user_version = 99'],
  ])('with %s', async (_what, sql) => {
    oneMessage();
    tamper((db) => db.exec(sql));
    await expectRefused(/cannot (read|use) outbound\.db/);
    expect(ledgerOf(bench.cells)).toEqual([]);
  });

  test('whose schema changes under the open handle', async () => {
    const runner = new RunnerHand(root);
    runner.say({ text: 'fine' });
    await bench.outbox.read(SESSION);
    await until(() => gateway.texts().includes('fine'));
    runner.close();
    tamper((db) =>
      db.exec("DROP TABLE acks; CREATE VIEW acks AS SELECT 2 AS in_seq, 'done' AS state, 1 AS tries, 0 AS next_try_at, NULL AS error"),
    );
    await expectRefused(/view/);
  });

  test('with an even seq, which would stand for a notice of the host', async () => {
    oneMessage();
    tamper((db) => {
      db.pragma('ignore_check_constraints = ON');
      db.prepare(`INSERT INTO messages_out (seq, id, kind, content, created_at) VALUES (2, 'x', 'chat', '{"text":"x"}', 1)`).run();
    });
    await expectRefused(/messages_out\.seq/);
  });

  test.each([
    [
      'a blob as content',
      `INSERT INTO messages_out (seq, id, kind, content, created_at) VALUES (9, 'x', 'chat', zeroblob(10), 1)`,
      /content/,
    ],
    ['an unknown kind', `INSERT INTO messages_out (seq, id, kind, content, created_at) VALUES (9, 'x', 'spell', '{}', 1)`, /kind/],
    [
      'a huge kind',
      `INSERT INTO messages_out (seq, id, kind, content, created_at) VALUES (9, 'x', hex(zeroblob(3000000)), '{}', 1)`,
      /kind/,
    ],
    [
      'a huge destination',
      `INSERT INTO messages_out (seq, id, kind, destination, content, created_at) VALUES (9, 'x', 'chat', hex(zeroblob(3000000)), '{}', 1)`,
      /destination/,
    ],
    [
      'text as a time',
      `INSERT INTO messages_out (seq, id, kind, content, deliver_after, created_at) VALUES (9, 'x', 'chat', '{}', 'soon', 1)`,
      /deliver_after/,
    ],
    [
      'a seq beyond what a number holds',
      `INSERT INTO messages_out (seq, id, kind, content, created_at) VALUES (9223372036854775807, 'x', 'chat', '{}', 1)`,
      /seq/,
    ],
    ['an ack in an unknown state', `INSERT INTO acks (in_seq, state, turn_id, at) VALUES (2, 'maybe', 't', 1)`, /acks\.state/],
    ['tries that are text', `INSERT INTO acks (in_seq, state, turn_id, tries, at) VALUES (2, 'done', 't', 'many', 1)`, /acks\.tries/],
  ])('with %s', async (_what, sql, sentence) => {
    hear(bench.cells);
    new RunnerHand(root).close();
    withoutTypes((db) => db.exec(sql));
    await expectRefused(sentence);
    expect(messagesIn(bench.cells)[0]?.status).toBe('pending');
  });

  test('that is a link', async () => {
    new RunnerHand(root, GOOD).close();
    symlinkSync(join(root, 'cells', GOOD, 'out', 'outbound.db'), path);
    await expectRefused(/link/);
  });

  test('that is a pipe', async () => {
    execFileSync('mkfifo', [path]);
    await expectRefused(/not a regular file/);
  });

  test('that may not be read', async () => {
    oneMessage();
    chmodSync(path, 0o000);
    // root, as which the tests may run, reads it all the same
    if (process.getuid?.() !== 0) await expectRefused(/EACCES|CANTOPEN/);
  });

  test('that is exchanged for another, well-made one under the open handle: the new one is read, checked anew', async () => {
    oneMessage();
    await bench.outbox.read(SESSION);
    await until(() => gateway.texts().length === 1);
    const other = join(root, 'other.db');
    copyFileSync(path, other);
    renameSync(other, path);
    tamper((db) => db.exec('CREATE VIEW v AS SELECT 1'));
    await expectRefused(/view/);
  });

  test.each([
    ['that is cut short', (): void => truncateSync(path, 5_000)],
    ['that is no database', (): void => writeFileSync(path, Buffer.alloc(8_192, 'x'))],
    [
      'whose pages are nonsense',
      (): void => writeFileSync(path, Buffer.concat([readFileSync(path).subarray(0, 100), Buffer.alloc(65_436, 0x0d)])),
    ],
  ])('%s', async (_what, spoil) => {
    oneMessage();
    spoil();
    await expectRefused(/outbound\.db/);
  });

  test('that is larger than a session may have', async () => {
    await bench.close();
    bench = openBench({ root, address: gateway.address, clock: systemClock, limits: { maxOutboundBytes: 60_000 } });
    const runner = new RunnerHand(root);
    runner.say({ text: 'x'.repeat(100_000) });
    runner.close();
    await expectRefused(/bytes, and the limit is 60000/);
  });

  test('that is locked for ever is no fault: delivery does not stand still for it, and reads it when it can', async () => {
    const runner = new RunnerHand(root);
    runner.say({ text: 'at last' });
    runner.db.exec('BEGIN EXCLUSIVE');
    const reading = bench.outbox.read(SESSION);
    await expectOthersUnharmed(); // while the other read is still trying
    expect(await reading).toMatchObject({ newRows: 0 });
    expect(bench.hostile).toEqual([]);
    runner.db.exec('COMMIT');
    await bench.outbox.read(SESSION);
    await until(() => gateway.texts().includes('at last'));
    runner.close();
  });

  test('that is locked again and again is waited for once: delivery would stand still as often as it looks', async () => {
    const runner = new RunnerHand(root);
    runner.say({ text: 'one' });
    await bench.outbox.read(SESSION);
    const reader = bench.cells.open(SESSION).outbound();
    if (reader === undefined) throw new Error('the file is there');
    const patience = (): unknown => reader.pragma('busy_timeout', { simple: true });
    expect(patience()).toBeGreaterThan(0);
    runner.say({ text: 'two' });
    runner.db.exec('BEGIN EXCLUSIVE');
    await bench.outbox.read(SESSION);
    expect(patience()).toBe(0);
    runner.db.exec('COMMIT');
    expect(await bench.outbox.read(SESSION)).toMatchObject({ newRows: 1 });
    expect(patience()).toBeGreaterThan(0);
    runner.db.exec('BEGIN EXCLUSIVE');
    bench.cells.release(SESSION);
    const cell = bench.cells.open(SESSION);
    for (let i = 0; i < 2; i += 1) expect(() => cell.outbound()).toThrow('database is locked');
    runner.db.exec('COMMIT');
    expect(cell.outbound()?.pragma('busy_timeout', { simple: true })).toBeGreaterThan(0);
    runner.close();
  });

  test('that is exchanged while a row waits for its next attempt: the row waits on, and others are unharmed', async () => {
    gateway.act = ({ content }) => (content.includes('bad one') ? { type: 'retry' } : undefined);
    oneMessage();
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, 1).state === 'failed');
    writeFileSync(path, 'SQLite format 3\0'.padEnd(4_096, 'x'));
    await until(() => rowOf(bench.cells, 1).attempts >= 2);
    expect(rowOf(bench.cells, 1)).toMatchObject({ state: 'failed', last_error: 'outbound.db cannot be read' });
    expect(bench.hostile).toHaveLength(1);
    await expectOthersUnharmed();
  });
});

describe('rows that no chat will see', () => {
  test('a huge one is set aside without being fetched, the agent is told, people are told, and the next goes out', async () => {
    const runner = new RunnerHand(root);
    const huge = runner.say({ text: 'x'.repeat(2 ** 20) });
    runner.say({ text: 'small' });
    runner.close();
    await bench.outbox.read(SESSION);
    await until(() => bench.outbox.open(SESSION) === 0);
    expect(rowOf(bench.cells, huge)).toMatchObject({ state: 'dead', attempts: 0 });
    expect(rowOf(bench.cells, huge).last_error).toMatch(/it has 1048587 bytes, and the limit is 1048576/);
    expect(messagesIn(bench.cells)[0]?.content).toContain(`Your message ${huge} could not be delivered`);
    expect(gateway.texts().toSorted()[0]).toMatch(/^A message could not be delivered here/);
    expect(gateway.texts()).toContain('small');
  });

  test.each([
    ['chat', {}, 'its content has a wrong text: string is expected'],
    ['chat', { text: '' }, 'its content has a wrong text: it must have at least 1'],
    ['chat', ['text'], 'its content has the wrong form: object is expected'],
    [
      'file',
      { path: 'outbox/1/a', name: 'a', mimeType: 'x/y', sizeBytes: -1 },
      'its content has a wrong sizeBytes: it must have at least 0',
    ],
    ['edit', { target: 'first', text: 'x' }, 'its content has a wrong target: number is expected'],
    ['reaction', { target: 1, emoji: 'x'.repeat(65) }, 'its content has a wrong emoji: it must have at most 64'],
    [
      'card',
      { title: 't', text: '', fallback: 'f', links: [{ label: 'l', url: 'javascript:alert(1)' }] },
      'its content has a wrong links.0.url: it is not of the expected form',
    ],
    [
      'question',
      { questionId: 'q', title: '', text: '', options: [], expiresAt: 1 },
      'its content has a wrong options: it must have at least 1',
    ],
    ['action', { action: 'create_agent', payload: {} }, 'the action "create_agent" is not supported yet'],
  ] as const)('%s with %j', async (kind, content, reason) => {
    const runner = new RunnerHand(root);
    const seq = runner.say({ kind, content });
    runner.close();
    await bench.outbox.read(SESSION);
    expect(rowOf(bench.cells, seq)).toMatchObject({ state: 'dead', last_error: reason });
    await until(() => bench.outbox.open(SESSION) === 0);
    expect(gateway.calls.every(({ idempotencyKey }) => !idempotencyKey.endsWith(`/${seq}/0`))).toBe(true);
  });

  test('an agent that writes nonsense without end is told of some of it, and people of less', async () => {
    const runner = new RunnerHand(root);
    for (let i = 0; i < 100; i++) runner.say({ content: {} });
    runner.close();
    await bench.outbox.read(SESSION);
    await until(() => bench.outbox.open(SESSION) === 0);
    expect(ledgerOf(bench.cells).filter((row) => row.state === 'dead')).toHaveLength(100);
    expect(messagesIn(bench.cells)).toHaveLength(20);
    expect(notices(bench.cells)).toHaveLength(5);
  });

  test('acks for rows that do not exist change nothing, and those for done rows do not either', async () => {
    const seq = hear(bench.cells);
    const runner = new RunnerHand(root);
    for (const inSeq of [-2, 3, 400, 2 ** 40]) runner.ack(inSeq, 'failed', 'x');
    runner.ack(seq, 'done');
    expect(await bench.outbox.read(SESSION)).toMatchObject({ done: [seq], failed: [] });
    runner.ack(seq, 'failed', 'after all');
    expect(await bench.outbox.read(SESSION)).toMatchObject({ done: [], failed: [] });
    expect(messagesIn(bench.cells)).toMatchObject([{ seq, status: 'done' }]);
    runner.close();
  });

  test('a file that grows without end is taken in measure, and others go first', async () => {
    await bench.close();
    bench = openBench({
      root,
      address: gateway.address,
      clock: systemClock,
      limits: { rowBurst: 300, rowsPerSecond: 1, maxOpenRows: 100, batchRows: 50 },
    });
    const gate = Promise.withResolvers<void>();
    gateway.act = ({ idempotencyKey }) => (idempotencyKey.startsWith(SESSION) ? { type: 'hold', until: gate.promise } : undefined);
    const runner = new RunnerHand(root);
    runner.db
      .prepare(
        `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999)
         INSERT INTO messages_out (seq, id, kind, content, created_at) SELECT 2 * i + 1, i, 'chat', '{"text":"flood"}', 1 FROM n`,
      )
      .run();
    runner.close();
    expect(await bench.outbox.read(SESSION)).toMatchObject({ newRows: 100 });
    await expectOthersUnharmed();
    gate.resolve();
    await until(() => ledgerOf(bench.cells).filter((row) => row.state === 'delivered').length >= 300);
    await bench.outbox.read(SESSION);
    expect(ledgerOf(bench.cells).length).toBeLessThan(400); // the burst, and one a second
    expect(bench.hostile).toEqual([]);
  });
});

test('whatever bytes are in the file, a read ends, and others are unharmed', async () => {
  const runner = new RunnerHand(root);
  for (let i = 0; i < 40; i++) {
    runner.say({ text: 'x'.repeat(i * 50), replyTo: 2 });
    runner.ack(2 * i + 2, 'done');
  }
  runner.close();
  const whole = readFileSync(path);
  await bench.outbox.read(GOOD);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 60 }), async (changes) => {
      const bytes = Buffer.from(whole);
      // The first 100 bytes decide too early; half of the changes go to the pages' heads, where the tree is.
      changes.forEach(([at, value], i) => {
        bytes[i % 2 === 0 ? Math.max(100, at) : Math.max(100, at - (at % 4_096) + (at % 24))] = value;
      });
      const root2 = makeFolder();
      const other = openBench({ root: root2, address: gateway.address, clock: systemClock });
      makeCell(other.cells);
      for (let i = 0; i < 5; i++) hear(other.cells);
      writeFileSync(join(root2, 'cells', SESSION, 'out', 'outbound.db'), bytes);
      const read = await other.outbox.read(SESSION);
      expect(read.newRows).toBeLessThanOrEqual(40);
      for (const row of ledgerOf(other.cells)) expect(Number.isSafeInteger(row.seq)).toBe(true);
      await other.close();
      remove(root2);
    }),
    { numRuns: 40 },
  );
  rmSync(path);
  await expectOthersUnharmed();
});
