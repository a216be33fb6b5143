import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { INBOUND_MIGRATIONS, latest, openInboundWriter, openOutboundWriter, SchemaSkewError } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Inbox } from '../inbox/inbox.ts';
import { TestCell } from '../testing/cell.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { MAX_TRIES, Outbox, POISON } from './outbox.ts';

let cell: TestCell;
let inbox: Inbox;
let clock: ManualClock;
let rung: number[];
let outbox: Outbox;
const open = (): Outbox => Outbox.open(cell.outboundPath, { inbox, clock, onRows: (seq) => rung.push(seq) });
beforeEach(() => {
  cell = new TestCell();
  inbox = Inbox.open(cell.inboundPath);
  clock = new ManualClock(1_000_000);
  rung = [];
  outbox = open();
});
afterEach(() => {
  outbox.close();
  inbox.close();
  cell.remove();
});
/** As a process that was killed and its successor. */
function restart(): { readonly interrupted: number; readonly setAside: number } {
  outbox.close();
  inbox.close();
  inbox = Inbox.open(cell.inboundPath);
  outbox = open();
  return outbox.clearStale();
}
const turn = (id: string) => ({ id, provider: 'demo', model: undefined, origin: 2 });
const chat = (id: string) => ({ id, kind: 'chat', content: { text: id } }) as const;
const dueSeqs = (): number[] => inbox.next(clock.now())?.rows.map((row) => row.seq) ?? [];

describe('the outbox', () => {
  test('gives rows odd seqs above the highest of both files', () => {
    expect(outbox.commit({ out: [chat('a'), chat('b')] }).seqs).toEqual([1, 3]);
    cell.say('x', { seq: 10 });
    expect(outbox.commit({ out: [chat('c'), chat('d')] }).seqs).toEqual([11, 13]);
    cell.say('y', { seq: 12 });
    expect(outbox.commit({ out: [chat('e')] }).seqs).toEqual([15]);
    expect(rung).toEqual([3, 13, 15]);
  });

  test('writes a row once by its id, and says the seq it has', () => {
    expect(outbox.commit({ out: [chat('t/1/0')] }).seqs).toEqual([1]);
    expect(outbox.commit({ out: [chat('t/1/0'), chat('t/1/1')] }).seqs).toEqual([1, 3]);
    expect(cell.sent()).toHaveLength(2);
  });

  test('writes all of a step or nothing of it', () => {
    const seq = cell.say('x');
    outbox.claim(turn('t'), [seq]);
    outbox.commit({}); // the claim comes with the next commit, whatever that is about
    const change = {
      history: [{ turn: 't', step: 1, role: 'assistant', blocks: [] }],
      settle: { seqs: [seq], state: 'done', turn: 't' },
      turn: { id: 't', state: 'done', steps: 1 },
    } as const;
    // A row that breaks the table's own rule: both a destination and an answer.
    expect(() => outbox.commit({ ...change, out: [chat('a'), { ...chat('b'), destination: 'x', inReplyTo: 2 }] })).toThrow(/CHECK/);
    expect([cell.sent(), cell.history(), cell.acks()[0]?.state, cell.turns()[0]?.state]).toEqual([[], [], 'processing', 'running']);
  });

  test('makes claims of a dead process due again: at once, then after 5, 10 and 20 s, then sets them aside', () => {
    const seq = cell.say('x');
    const waits = [0, 5_000, 10_000, 20_000];
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      outbox.claim(turn(`t${tries}`), [seq]);
      expect(dueSeqs()).toEqual([]);
      const cleared = restart();
      const wait = waits[tries - 1];
      if (wait === undefined) {
        expect(cleared).toEqual({ interrupted: 0, setAside: 1 });
        expect(cell.acks()).toMatchObject([{ state: 'failed', tries: MAX_TRIES, error: POISON }]);
        expect(dueSeqs()).toEqual([]);
      } else {
        expect(cleared).toEqual({ interrupted: 1, setAside: 0 });
        if (wait > 0) expect(dueSeqs()).toEqual([]);
        if (wait > 0) expect(inbox.nextDueAt()).toBe(clock.now() + wait);
        clock.advance(wait);
        expect(dueSeqs()).toEqual([seq]);
      }
    }
    expect(cell.turns().map((row) => row.state)).toEqual(Array(MAX_TRIES).fill('failed'));
  });

  test('commits a claim by itself after some milliseconds, and with any other commit before that', async () => {
    const [first, second] = [cell.say('x'), cell.say('y')];
    const visible: string[] = [];
    outbox.claim(turn('t1'), [first], () => visible.push('t1'));
    expect([cell.acks(), dueSeqs()]).toEqual([[], [second]]);
    clock.advance(1_000);
    await new Promise(setImmediate);
    expect(cell.acks()).toMatchObject([{ in_seq: first, state: 'processing', tries: 1 }]);
    outbox.claim(turn('t2'), [second], () => visible.push('t2'));
    outbox.commit({ state: { any: 1 } });
    expect(cell.acks()).toHaveLength(2);
    await new Promise(setImmediate);
    expect(visible).toEqual(['t1', 't2']);
  });

  test('tells at the next commit why a claim could not be committed by itself', async () => {
    outbox.claim(turn('t1'), [cell.say('x')]);
    const db = openOutboundWriter(cell.outboundPath);
    db.exec('DROP TABLE acks');
    db.close();
    clock.advance(1_000);
    await new Promise(setImmediate);
    expect(() => outbox.commit({})).toThrow(/no such table/);
  });

  test('takes a pipe in the place of the claim marker for none, and does not wait for it', () => {
    outbox.close();
    execFileSync('mkfifo', [join(cell.out, 'claim')]);
    outbox = open();
    expect(outbox.clearStale()).toEqual({ interrupted: 0, setAside: 0 });
    const seq = cell.say('x');
    outbox.claim(turn('t1'), [seq]);
    expect(cell.acks()).toMatchObject([{ in_seq: seq, state: 'processing' }]); // at once, as no marker can be written
  });

  test.each(['', '{', '{"turn":{"id":1,"provider":"p"},"seqs":[2]}', '{"turn":{"id":"t","provider":"p"},"seqs":[1]}', 'x'.repeat(100_000)])(
    'takes a claim marker that says nothing sane for none (%#)',
    (text) => {
      const seq = cell.say('x');
      writeFileSync(join(cell.out, 'claim'), text);
      expect(restart()).toEqual({ interrupted: 0, setAside: 0 });
      expect(dueSeqs()).toEqual([seq]);
    },
  );

  test('tells nobody of a claim that became visible with the last commit before the files are closed', async () => {
    let told = false;
    outbox.claim(turn('t1'), [cell.say('x')], () => {
      told = true;
    });
    outbox.commit({});
    outbox.close();
    await new Promise(setImmediate);
    expect(told).toBe(false);
    outbox = open();
  });

  test('counts no try for what a drain gives back', () => {
    const seq = cell.say('x');
    outbox.claim(turn('t'), [seq]);
    outbox.release('t', 0, 'drained');
    expect(cell.acks()).toMatchObject([{ state: 'interrupted', tries: 0 }]);
    expect(restart()).toEqual({ interrupted: 0, setAside: 0 });
    expect(dueSeqs()).toEqual([seq]);
  });
});

describe('the inbox', () => {
  test('filters what is settled before it counts, however many rows that is', () => {
    const said = Array.from({ length: 150 }, (_, n) => cell.say(`m${n}`));
    outbox.claim(turn('t'), said.slice(0, 120));
    outbox.commit({ settle: { seqs: said.slice(0, 100), state: 'done', turn: 't' } });
    expect(dueSeqs()).toEqual(said.slice(120));
    cell.copyAcks();
    expect(inbox.changed()).toBe(true);
    expect(inbox.changed()).toBe(false);
    expect(dueSeqs()).toEqual(said.slice(120));
    restart();
    expect(dueSeqs()).toEqual(said.slice(100));
  });

  test('takes at most 50 rows, or 200,000 characters but never none', () => {
    for (let n = 0; n < 60; n += 1) cell.say('x');
    expect(dueSeqs()).toHaveLength(50);
    const other = new TestCell();
    const big = Inbox.open(other.inboundPath);
    other.say('x'.repeat(300_000));
    other.say('y');
    expect(big.next(0)?.rows).toHaveLength(1);
    big.close();
    other.remove();
  });

  test('is not starved by silent rows: they are no reason for a turn and do not count', () => {
    for (let n = 0; n < 130; n += 1) cell.say(`quiet ${n}`, { trigger: 0 });
    expect(inbox.next(clock.now())).toBeUndefined();
    expect(inbox.nextDueAt()).toBeUndefined();
    const asked = cell.say('now');
    const batch = inbox.next(clock.now());
    expect(batch?.rows.at(-1)?.seq).toBe(asked);
    expect([batch?.rows.length, batch?.leftOut.length]).toEqual([101, 30]);
  });

  test('gives the control lane first, and apart', () => {
    cell.say('first');
    const control = cell.say('an answer', { lane: 'control' });
    const stop = cell.say('/stop', { lane: 'control' });
    expect(inbox.control(clock.now()).map((row) => row.seq)).toEqual([control, stop]);
    expect(dueSeqs()).not.toContain(stop);
    expect(dueSeqs()).toContain(control);
  });

  test('knows at once what was settled without having been claimed', () => {
    const stop = cell.say('/stop', { lane: 'control' });
    expect(inbox.control(clock.now()).map(({ seq }) => seq)).toEqual([stop]);
    outbox.commit({ settle: { seqs: [stop], state: 'done', turn: '' } });
    expect(inbox.control(clock.now())).toEqual([]);
  });

  test('begins with the chat that a row of the control lane is from, however many messages wait elsewhere', () => {
    cell.say('first');
    const control = cell.say('an answer', { lane: 'control', chat: 'c2' });
    const other = cell.say('another', { chat: 'c2' });
    expect(dueSeqs()).toEqual([control, other]);
  });

  test('refuses a file that delivery has meanwhile brought to a version two ahead', () => {
    openInboundWriter(cell.inboundPath, [
      ...INBOUND_MIGRATIONS,
      { version: latest(INBOUND_MIGRATIONS) + 1, sql: 'CREATE TABLE one (x INTEGER) STRICT' },
      { version: latest(INBOUND_MIGRATIONS) + 2, sql: 'CREATE TABLE two (x INTEGER) STRICT' },
    ]).close();
    expect(() => inbox.changed()).toThrow(SchemaSkewError);
  });

  test('gives a row that killed two processes alone, with the silent rows that were with it, and lets none join', () => {
    const silent = cell.say('quiet', { trigger: 0 });
    const [a, b] = [cell.say('a'), cell.say('b')];
    for (let death = 0; death < 2; death += 1) {
      outbox.claim(turn(`t${death}`), [silent, a, b]);
      restart();
    }
    clock.advance(5_000);
    const fresh = cell.say('c');
    expect(dueSeqs()).toEqual([silent, a]);
    expect(inbox.joining(clock.now(), { channel: 'local', chat: 'c1', thread: null })?.rows.map((row) => row.seq)).toEqual([fresh]);
  });

  test('reads a projection that is rewritten, and the same agent object while it is not', () => {
    const first = inbox.projection();
    cell.addDestination('ops', 'c9');
    const second = inbox.projection();
    expect(second?.agent).toBe(first?.agent);
    expect(second?.destinations.map((row) => row.name)).toEqual(['ops']);
    cell.setAgent({ instructions: 'Be very brief indeed.' });
    expect(inbox.projection()?.agent.instructions).toBe('Be very brief indeed.');
  });
});
