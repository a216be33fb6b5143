import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  INBOUND_MIGRATIONS,
  latest,
  OUTBOUND_MIGRATIONS,
  openInboundReader,
  openInboundWriter,
  openOutboundWriter,
  STATE_TITLE,
} from '@dovecote/proto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { POISON } from '../outbox/outbox.ts';
import type { TestCell } from '../testing/cell.ts';
import { MAIN, until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';
import { NOTHING_TO_STOP, STOPPED } from './sentences.ts';

const running = new Running();
afterEach(() => running.close());

const done = (cell: TestCell): number => cell.acks().filter((ack) => ack.state === 'done').length;
const idle = (cell: TestCell): boolean => cell.turns().every((turn) => turn.state !== 'running');

describe('messages', () => {
  test('in a burst of 200 are read in seq order, each once, and all answered', async () => {
    const cell = running.cell();
    const said = cell.inbound.transaction(() => Array.from({ length: 200 }, (_, n) => cell.say(`number ${n + 1}.`)))();
    running.start(cell);
    await until('all are done', () => done(cell) === 200 && idle(cell));
    expect(cell.history().flatMap((row) => (row.in_seq === null ? [] : [row.in_seq]))).toEqual(said);
    const answered = [
      ...cell
        .texts()
        .join('\n')
        .matchAll(/You said: number (\d+)\./g),
    ].map((match) => Number(match[1]));
    expect(answered).toEqual(said.map((_, n) => n + 1));
  });

  test('that wait behind settled ones are found however many of those delivery has not yet copied', async () => {
    const cell = running.cell();
    running.start(cell);
    for (let n = 0; n < 120; n += 40) {
      cell.inbound.transaction(() => Array.from({ length: 40 }, (_, k) => cell.say(`n${n + k};`)))();
      await until('those are done', () => done(cell) === n + 40);
    }
  });

  test('that arrive during a turn join it between steps, and are done with the step that read them', async () => {
    const cell = running.cell();
    const first = cell.say('tool exec {"command":"touch started; while [ ! -e go ]; do sleep 0.01; done"}\nsay first done');
    const runner = running.start(cell);
    await until('the tool runs', () => existsSync(join(cell.workspace, 'started')));
    const second = cell.say('say second too');
    expect(cell.acks()).toMatchObject([{ in_seq: first, state: 'done' }]);
    spawnSync('touch', [join(cell.workspace, 'go')]);
    await until('both are done', () => done(cell) === 2 && idle(cell));
    expect(cell.turns()).toHaveLength(1);
    expect(cell.texts()).toEqual(['first done\nsecond too']);
    expect(cell.sent()[0]?.in_reply_to).toBe(second);
    expect(cell.history().find((row) => row.in_seq === second)?.step).toBe(2);
    await runner.drain();
  });

  test('that are silent context start no turn, and join the next real one in order', async () => {
    const cell = running.cell();
    const silent = cell.say('quiet talk', { trigger: 0 });
    running.start(cell);
    await until('the runner runs', () => existsSync(join(cell.out, 'outbound.db')));
    const other = cell.say('elsewhere', { trigger: 0, chat: 'c2' });
    const asked = cell.say('say yes');
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.acks().map((ack) => ack.in_seq)).toEqual([silent, asked]);
    expect(cell.acks().map((ack) => ack.in_seq)).not.toContain(other);
    expect(cell.history().map((row) => row.in_seq)).toEqual([silent, asked, null]);
    expect(cell.history()[0]?.content).toContain('context=\\"true\\"');
  });

  test('of two chats are never in one turn: each is answered where it was asked', async () => {
    const cell = running.cell({ scope: '*' });
    const [a, b] = [cell.say('say to one'), cell.say('say to two', { chat: 'c2' })];
    running.start(cell);
    await until('both are answered', () => cell.texts().length === 2);
    expect(cell.sent().map((row) => [row.in_reply_to, JSON.parse(row.content).text])).toEqual([
      [a, 'to one'],
      [b, 'to two'],
    ]);
  });

  test('that are not due yet wait for their time', async () => {
    const cell = running.cell();
    const later = cell.say('say later', { not_before: Date.now() + 3_600_000 });
    const now = cell.say('say now');
    running.start(cell);
    await until('one is answered', () => cell.texts().length === 1);
    cell.inbound.prepare('UPDATE messages_in SET not_before = ? WHERE seq = ?').run(Date.now() + 300, later);
    await until('both are answered', () => cell.texts().length === 2);
    expect(cell.texts()).toEqual(['now', 'later']);
    expect([later, now]).toEqual(cell.acks().map((ack) => ack.in_seq));
  });

  test('that were edited in place before the claim are read as edited', async () => {
    const cell = running.cell();
    const seq = cell.say('say old');
    cell.inbound.prepare('UPDATE messages_in SET content = ? WHERE seq = ?').run(JSON.stringify({ text: 'say new', edited: true }), seq);
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['new']);
  });

  test('of a new conversation have its model name it beside the first turn, once', async () => {
    const cell = running.cell();
    cell.say('title The food of pigeons\nsay seeds');
    running.start(cell);
    await until('it is named', () => cell.state(STATE_TITLE) !== undefined);
    expect(cell.state(STATE_TITLE)).toEqual({ text: 'The food of pigeons' });
    cell.say('title Something else\nsay more');
    await until('it is answered', () => cell.texts().includes('more') && idle(cell));
    expect(cell.state(STATE_TITLE)).toEqual({ text: 'The food of pigeons' });
  });

  test('get their transcript back in a new process', async () => {
    const cell = running.cell();
    cell.say('remember blue');
    const first = running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(await first.drain()).toEqual({ code: 0, signal: null });
    cell.say('recall');
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 2);
    expect(cell.texts()[1]).toBe('I remember: blue');
  });
});

describe('a message that kills its runner', () => {
  test('once is resumed at once, behind the crash', async () => {
    const cell = running.cell();
    cell.say('crash here\nsay survived');
    expect((await running.start(cell).ended).signal).toBe('SIGKILL');
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['survived']);
  });

  test('each time is set aside after its fifth try, and those that came with it go on, each alone', async () => {
    const cell = running.cell();
    const poison = cell.say('crash always');
    const innocent = cell.say('say me too');
    for (let death = 1; death <= 2; death += 1) expect((await running.start(cell).ended).signal).toBe('SIGKILL');
    expect(cell.acks().map((ack) => [ack.state, ack.tries])).toEqual([
      ['processing', 2],
      ['processing', 2],
    ]);
    // Three more deaths, without the waits between them: those are told in the outbox's own tests.
    const db = openOutboundWriter(cell.outboundPath);
    db.prepare('UPDATE acks SET tries = 5 WHERE in_seq = ?').run(poison);
    db.close();
    running.start(cell);
    await until('the other is answered', () => cell.texts().includes('me too'));
    expect(cell.acks()).toMatchObject([
      { in_seq: poison, state: 'failed', tries: 5, error: POISON },
      { in_seq: innocent, state: 'done', tries: 3, error: null },
    ]);
    expect(cell.history().flatMap((row) => (row.in_seq === null ? [] : [row.in_seq]))).toEqual([innocent]);
  });

  test('inside a tool is told to the model as interrupted, and the tool is not run again', async () => {
    const cell = running.cell();
    cell.say('tool exec {"command":"echo run >> runs; kill -9 $PPID"}\nalso exec {"command":"echo second >> runs"}\nsay after');
    expect((await running.start(cell).ended).signal).toBe('SIGKILL');
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    const results = cell.history().flatMap(({ role, content }) => (role === 'tool' ? (JSON.parse(content) as { text: string }[]) : []));
    expect(results).toMatchObject([{ text: expect.stringMatching(/^Interrupted: /) }, { text: '(no output)' }]);
    expect(readFileSync(join(cell.workspace, 'runs'), 'utf8')).toBe('run\nsecond\n'); // that had not begun
  });

  test('in a later step each time is given up with a sentence', async () => {
    const cell = running.cell();
    cell.say('tool list_dir\ncrash always');
    for (let death = 1; death <= 6; death += 1) {
      const runner = running.start(cell);
      const db = openOutboundWriter(cell.outboundPath);
      db.close();
      if (death <= 2) await runner.ended;
      else {
        // From the second death on the turn waits: killed while it waits, it counts a death all the same.
        await until(
          'the death is counted',
          () => (cell.state('resume') as { count: number } | undefined)?.count === death - 1 || cell.turns()[0]?.state === 'failed',
        );
        runner.kill('SIGKILL');
        await runner.ended;
      }
    }
    running.start(cell);
    await until('it is given up', () => cell.turns()[0]?.state === 'failed');
    expect(cell.texts()).toHaveLength(1);
    cell.say('say onward');
    await until('the next is answered', () => cell.texts().includes('onward'));
  });
});

describe('/stop', () => {
  test('cancels the running turn and says so; the next message is answered', async () => {
    const cell = running.cell();
    cell.say('tool exec {"command":"touch started; sleep 60"}\nsay never');
    running.start(cell);
    await until('the tool runs', () => existsSync(join(cell.workspace, 'started')));
    const stop = cell.say('/stop', { lane: 'control' });
    await until('it is stopped', () => cell.turns()[0]?.state === 'stopped');
    expect(cell.sent().map((row) => [row.in_reply_to, JSON.parse(row.content).text])).toEqual([[stop, STOPPED]]);
    cell.say('say next');
    await until('the next is answered', () => cell.texts().includes('next'));
    expect(cell.texts()).not.toContain('never');
  });

  test('ends a turn that waits for its next try after two deaths', async () => {
    const cell = running.cell();
    cell.say('tool list_dir\ncrash always');
    for (let death = 1; death <= 2; death += 1) expect((await running.start(cell).ended).signal).toBe('SIGKILL');
    cell.say('/stop', { lane: 'control' });
    running.start(cell);
    await until('it is stopped', () => cell.turns()[0]?.state === 'stopped');
    expect(cell.texts()).toEqual([STOPPED]);
    cell.say('say onward');
    await until('the next is answered', () => cell.texts().includes('onward'));
  });

  test('with nothing to stop says that', async () => {
    const cell = running.cell();
    cell.say('/stop', { lane: 'control' });
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual([NOTHING_TO_STOP]);
    expect(cell.turns()).toEqual([]);
  });

  test('cancels a model call that gives no sign of life', async () => {
    const cell = running.cell();
    const seq = cell.say('hang');
    running.start(cell);
    await until('it is claimed', () => cell.acks().length === 1);
    cell.say('/stop now', { lane: 'control' });
    await until('it is stopped', () => cell.texts().includes(STOPPED));
    expect(cell.acks().find((ack) => ack.in_seq === seq)?.state).toBe('done');
  });
});

describe('a model', () => {
  test('that fails for a while is tried again; the message is answered, and no error text is sent', async () => {
    const cell = running.cell();
    cell.say('fail 429 retry-after 50ms\nfail 529 retry-after 50ms\nsay got through');
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['got through']);
    expect(cell.state('provider_retry')).toBeUndefined();
  });

  test('that gives no sign of life is cancelled and asked again', async () => {
    const cell = running.cell({ agent: { noProgressTimeoutMs: 200 } });
    cell.say('hang\nsay awake again');
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['awake again']);
  });

  test('that is slow but alive is left alone', async () => {
    const cell = running.cell({ agent: { noProgressTimeoutMs: 1_500 } });
    cell.say('sleep 3s\nsay slow but sure');
    const runner = running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['slow but sure']);
    expect(runner.log).not.toContain('will be tried again');
  });

  test('that refuses a message for good fails it with a sentence for people; the next message is answered', async () => {
    const cell = running.cell();
    const seq = cell.say('fail 400');
    running.start(cell);
    await until('it is refused', () => cell.turns()[0]?.state === 'failed');
    expect(cell.acks()).toMatchObject([{ in_seq: seq, state: 'failed', error: expect.stringContaining('The model refused this request') }]);
    cell.say('say fine');
    await until('the next is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['fine']); // of the failure delivery tells, with the ack's error
  });

  test('that refuses in a later step ends the turn with a sentence, and what it did stays out of the transcript', async () => {
    const cell = running.cell();
    cell.say('tool list_dir\nfail 413');
    running.start(cell);
    await until('it is refused', () => cell.texts().length === 1);
    expect(cell.texts()[0]).toContain('longer than the model can read');
    expect(cell.turns()).toMatchObject([{ state: 'failed', steps: 1 }]);
    cell.say('say fine');
    await until('the next is answered', () => cell.texts().length === 2);
  });

  test('whose credentials are refused has its messages wait for an administrator; people are told once', async () => {
    const cell = running.cell({ agent: { provider: 'nonsense' } });
    const seq = cell.say('say at last');
    const runner = running.start(cell);
    await until('it is told', () => cell.acks()[0]?.state === 'interrupted');
    expect(cell.texts()).toEqual([expect.stringContaining('Once an administrator has set it up, I will.')]);
    expect(cell.acks()).toMatchObject([{ in_seq: seq, tries: 0 }]);
    const other = cell.say('say me too');
    await until('it is told to the other', () => cell.acks()[1]?.state === 'interrupted');
    expect(cell.texts()).toHaveLength(2);
    expect((await runner.drain()).code).toBe(0);

    // The first one's minute is over: refused again, it waits longer, and nobody hears of it twice.
    const makeDue = (where: string): void => {
      const db = openOutboundWriter(cell.outboundPath);
      db.exec(`UPDATE acks SET next_try_at = 0 WHERE ${where}`);
      db.close();
    };
    makeDue(`in_seq = ${seq}`);
    const again = running.start(cell);
    await until('it waits again', () => (cell.acks()[0]?.next_try_at ?? 0) > Date.now() + 90_000);
    expect(cell.texts()).toHaveLength(2);
    expect((await again.drain()).code).toBe(0);

    cell.setAgent({ provider: 'demo' });
    makeDue(`in_seq IN (${seq}, ${other})`);
    running.start(cell);
    await until('both are answered', () => cell.texts().length === 3);
    expect(cell.texts()[2]).toBe('at last\nme too');
    expect(cell.state('administrator_waits')).toBeUndefined();
  });
});

describe('a drain', () => {
  test('waits for the step in hand, leaves the turn for the next process, and nothing counts as a failure', async () => {
    const cell = running.cell();
    cell.say(
      'tool exec {"command":"touch started; sleep 0.3; echo one >> runs"}\nalso exec {"command":"echo two >> runs"}\n' +
        'tool exec {"command":"echo three >> runs"}\nsay finished',
    );
    const runner = running.start(cell);
    await until('the tool runs', () => existsSync(join(cell.workspace, 'started')));
    expect(await runner.drain()).toEqual({ code: 0, signal: null });
    expect(cell.turns()).toMatchObject([{ state: 'running', steps: 1 }]);
    expect(cell.state('checkpoint')).toMatchObject({ step: 1 });
    expect(readFileSync(join(cell.workspace, 'runs'), 'utf8')).toBe('one\n');
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['finished']);
    expect(readFileSync(join(cell.workspace, 'runs'), 'utf8')).toBe('one\ntwo\nthree\n');
  });

  test('of a process that had not yet gone on with the turn leaves it as it was: its next call has not run', async () => {
    const cell = running.cell();
    cell.say(
      'tool exec {"command":"touch started; while [ ! -e go ]; do sleep 0.01; done"}\nalso exec {"command":"echo two >> runs"}\nsay {result}',
    );
    const first = running.start(cell);
    await until('the tool runs', () => existsSync(join(cell.workspace, 'started')));
    const drained = first.drain();
    await new Promise((resolve) => setTimeout(resolve, 200));
    spawnSync('touch', [join(cell.workspace, 'go')]);
    expect((await drained).code).toBe(0);
    expect(cell.state('checkpoint')).toMatchObject({ step: 1 });

    // It waits for a server that never says anything.
    cell.setAgent({ mcpServers: [{ name: 'slow', type: 'stdio', command: ['/bin/sleep', '60'], timeoutMs: 1_000 }] });
    const second = running.start(cell, ['--log-level', 'info']);
    await until('it has started', () => second.log.includes('the runner has started'));
    expect((await second.drain()).code).toBe(0);
    expect(cell.state('checkpoint')).toMatchObject({ step: 1 });

    cell.setAgent({});
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(readFileSync(join(cell.workspace, 'runs'), 'utf8')).toBe('two\n');
    expect(cell.texts()[0]).not.toContain('Interrupted');
  });

  test('cuts what outlasts the grace; the message is answered by the next process and no try is counted', async () => {
    const cell = running.cell();
    cell.say('sleep 60s\nsay never in time');
    const runner = running.start(cell, ['--grace-ms', '1200']);
    await until('it is claimed', () => cell.acks()[0]?.state === 'processing');
    expect(await runner.drain()).toEqual({ code: 0, signal: null });
    expect(cell.acks()).toMatchObject([{ state: 'interrupted', tries: 0 }]);
    expect(idle(cell)).toBe(true);
  });

  test('during a wait for the model ends it at once and keeps the wait', async () => {
    const cell = running.cell();
    cell.say('fail 529 retry-after 10m\nsay later');
    const runner = running.start(cell);
    await until('it waits', () => cell.state('provider_retry') !== undefined);
    expect(await runner.drain()).toEqual({ code: 0, signal: null });
    const { nextAt } = cell.state('provider_retry') as { nextAt: number };
    expect(cell.acks()).toMatchObject([{ state: 'interrupted', tries: 0, next_try_at: nextAt }]);
    expect(cell.texts()).toEqual([expect.stringContaining('I keep trying')]); // told at once: ten minutes are long
  });
});

describe('a background job', () => {
  test.each(['a drain', 'a kill'])(
    'that %s ended is told to the model by the next process, once; one that had ended before is not',
    async (how) => {
      const cell = running.cell();
      cell.say(
        'tool exec {"command":"sleep 60 # work","background":true}\ntool exec {"command":"true # done","background":true}\nsay started',
      );
      const first = running.start(cell);
      await until('one runs and one has ended', () => cell.texts().length === 1 && (cell.state('jobs') as unknown[]).length === 1);
      if (how === 'a drain') expect(await first.drain()).toEqual({ code: 0, signal: null });
      else first.kill('SIGKILL');
      await first.ended;
      // Its first turn is given up, with what it read: nothing is told by that.
      cell.say('fail 400');
      running.start(cell);
      await until('it is refused', () => cell.turns().at(-1)?.state === 'failed');
      for (const n of [2, 3]) {
        cell.say(`say number ${n}`);
        await until('it is answered', () => cell.texts().length === n);
      }
      const told = cell.history().filter(({ content }) => content.includes('was ended before it was done'));
      expect(told).toMatchObject([{ role: 'user', in_seq: null, content: expect.stringContaining('(sleep 60 # work)') }]);
      expect(told[0]?.content).not.toContain('# done');
      expect(told[0]?.turn_id).toBe(cell.turns().at(-2)?.id);
      expect(cell.state('jobs')).toBeUndefined();
    },
  );
});

describe('the files', () => {
  test('hold a heartbeat that a timer touches, not a database', async () => {
    const cell = running.cell();
    running.start(cell);
    const heartbeat = join(cell.out, 'heartbeat');
    await until('it is there', () => existsSync(heartbeat));
    utimesSync(heartbeat, 1, 1);
    const before = existsSync(cell.outboundPath) ? statSync(cell.outboundPath).mtimeMs : 0;
    await until('it is touched', () => statSync(heartbeat).mtimeMs > 1_000_000);
    if (before > 0) expect(statSync(cell.outboundPath).mtimeMs).toBe(before);
  });

  test('with a hot journal are rolled back, and the conversation goes on', async () => {
    const cell = running.cell();
    cell.say('say before');
    const first = running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    await first.drain();
    const [size, rows] = [statSync(cell.outboundPath).size, cell.history().length];
    // A process dies in the middle of a transaction that has already spilled into the file.
    const script = `
      import Sqlite from 'better-sqlite3';
      const db = new Sqlite(${JSON.stringify(cell.outboundPath)});
      db.pragma('journal_mode = PERSIST'); db.pragma('cache_size = 5'); db.pragma('cache_spill = 1');
      db.exec('BEGIN IMMEDIATE');
      db.exec("UPDATE history SET content = json_array('torn')");
      for (let n = 0; n < 200; n += 1) db.prepare("INSERT INTO history (turn_id, step, role, content, created_at) VALUES ('x', 1, 'user', json_array(?), 1)").run('x'.repeat(4000));
      process.kill(process.pid, 'SIGKILL');`;
    const torn = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: import.meta.dirname });
    await new Promise((resolve) => torn.once('close', resolve));
    expect(statSync(cell.outboundPath).size).toBeGreaterThan(size);
    expect(statSync(`${cell.outboundPath}-journal`).size).toBeGreaterThan(0);
    cell.say('say after');
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 2);
    expect(cell.texts()).toEqual(['before', 'after']);
    expect(cell.history()).toHaveLength(rows + 2);
    expect(cell.history()[0]?.content).toContain('say before');
  });

  test('on a full volume stay whole, the runner says so by exit code 75, and goes on when there is room', async () => {
    const cell = running.cell();
    cell.say('say small');
    const first = running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    await first.drain();
    const big = cell.say(`say ${'long '.repeat(20_000)}`);
    // The largest file this process may write: what a full volume is to SQLite, without a volume.
    const blocks = Math.ceil(statSync(cell.outboundPath).size / 1024) + 8;
    const flags = ['--session', 's', '--in', cell.in, '--out', cell.out, '--workspace', cell.workspace, '--home', cell.home];
    const full = spawnSync('bash', ['-c', `ulimit -f ${blocks}; exec "$0" "$@"`, process.execPath, MAIN, ...flags], { encoding: 'utf8' });
    expect(full.stdout).toContain('the volume is full');
    expect(full.status).toBe(75);
    running.start(cell);
    await until('it is done', () => cell.acks().find((ack) => ack.in_seq === big)?.state === 'done');
    expect(cell.texts()).toHaveLength(2);
  });

  test('of a neighbouring schema version are worked with; two versions away is refused with exit code 78', async () => {
    const [host, own] = [latest(INBOUND_MIGRATIONS), latest(OUTBOUND_MIGRATIONS)];
    const next = { version: host + 1, sql: 'ALTER TABLE messages_in ADD COLUMN later TEXT; CREATE TABLE more (x INTEGER) STRICT' };
    const newer = running.cell({ migrations: [...INBOUND_MIGRATIONS, next] });
    newer.say('say works');
    // Its own file too: a rolled-back runner meets what the newer one migrated.
    openOutboundWriter(newer.outboundPath, [
      ...OUTBOUND_MIGRATIONS,
      { version: own + 1, sql: 'ALTER TABLE messages_out ADD COLUMN later TEXT' },
    ]).close();
    running.start(newer);
    await until('it is answered', () => newer.texts().length === 1);

    const far = running.cell({
      migrations: [...INBOUND_MIGRATIONS, next, { version: host + 2, sql: 'CREATE TABLE most (x INTEGER) STRICT' }],
    });
    const refused = running.start(far);
    expect((await refused.ended).code).toBe(78);
    expect(refused.log).toContain('must not touch');

    const farOut = running.cell();
    openOutboundWriter(farOut.outboundPath, [
      ...OUTBOUND_MIGRATIONS,
      { version: own + 1, sql: 'SELECT 1' },
      { version: own + 2, sql: 'SELECT 1' },
    ]).close();
    expect((await running.start(farOut).ended).code).toBe(78);
  });

  test('of the host are never written by the runner', async () => {
    const cell = running.cell();
    cell.say('say hello');
    const before = readFileSync(cell.inboundPath);
    running.start(cell);
    await until('it is answered', () => cell.texts().length === 1);
    expect(readFileSync(cell.inboundPath).equals(before)).toBe(true);
    expect(() => openInboundReader(cell.inboundPath).exec('DELETE FROM messages_in')).toThrow(/readonly/);
  });

  test('may come after the Pod: the runner waits for its cell, also while that is empty, and for its agent', async () => {
    const cell = running.cell();
    cell.say('say here I am');
    const agent = cell.inbound.prepare('SELECT config, hash FROM agent').get();
    cell.inbound.exec('DELETE FROM agent');
    cell.inbound.close();
    const bytes = readFileSync(cell.inboundPath);
    rmSync(cell.inboundPath);
    const runner = running.start(cell);
    await until('the runner runs', () => existsSync(join(cell.out, 'heartbeat')));
    writeFileSync(cell.inboundPath, '');
    await new Promise((resolve) => setTimeout(resolve, 500)); // it has looked several times by then
    writeFileSync(cell.inboundPath, bytes);
    await until('it has its own file', () => existsSync(cell.outboundPath));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const late = openInboundWriter(cell.inboundPath);
    late.prepare('INSERT INTO agent VALUES (1, @config, @hash)').run(agent);
    late.close();
    await until('it is answered', () => cell.texts().length === 1);
    expect(runner.child.exitCode).toBeNull();
  });
});
