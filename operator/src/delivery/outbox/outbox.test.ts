import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { status } from '../../lib/grpc.ts';
import { ManualClock } from '../../lib/manual-clock.ts';
import { DEFAULT_OUTBOX_LIMITS } from './outbox-limits.ts';
import {
  type Bench,
  type BenchOptions,
  destination,
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

let root: string;
let gateway: ScriptedPlatform;
let clock: ManualClock;
let bench: Bench;
let runner: RunnerHand;

function reopen(options: Partial<BenchOptions> = {}): Bench {
  return openBench({ root, address: gateway.address, clock, ...options });
}

beforeEach(async () => {
  root = makeFolder();
  gateway = await startScriptedPlatform();
  clock = new ManualClock();
  bench = reopen();
  makeCell(bench.cells);
  runner = new RunnerHand(root);
});
afterEach(async () => {
  runner.close();
  await bench.close();
  await gateway.close();
  remove(root);
});

const isOpen = (): boolean => bench.outbox.open(SESSION) === 0;
const allSettled = (): Promise<void> => until(isOpen, 'an empty outbox');

describe('the way out', () => {
  test('an answer goes to the chat it replies to, once, and is recorded with the platform id', async () => {
    const asked = hear(bench.cells, { chat: 'room', thread: 't1', id: 'm-77' });
    runner.ack(asked, 'done');
    const seq = runner.say({ replyTo: asked, text: 'hello back' });
    const read = await bench.outbox.read(SESSION);
    await allSettled();

    expect(read).toEqual({ newRows: 1, done: [asked], failed: [], processing: [] });
    expect(gateway.sent).toMatchObject([
      { channel: 'web', chat: 'room', thread: 't1', replyTo: 'm-77', content: { text: 'hello back' }, key: `${SESSION}/${seq}/0` },
    ]);
    expect(rowOf(bench.cells, seq)).toMatchObject({ state: 'delivered', attempts: 1, platform_message_id: 'p1', part_ids: '["p1"]' });
    expect(messagesIn(bench.cells)[0]).toMatchObject({ status: 'done' });
    expect(bench.changed).toEqual(expect.arrayContaining([asked, seq]));
    await bench.outbox.read(SESSION);
    expect(gateway.calls).toHaveLength(1);
  });

  test('a row that names nothing goes to the chat of the session, one that names a destination goes there', async () => {
    runner.say({ text: 'home' });
    runner.say({ to: 'ops', text: 'ops' });
    await bench.outbox.read(SESSION);
    await allSettled();
    expect(gateway.texts('home')).toEqual(['home']);
    expect(gateway.texts('ops-chat')).toEqual(['ops']);
  });

  test('a message that a turn works on is told as such and stays pending', async () => {
    const seq = hear(bench.cells);
    runner.ack(seq, 'processing');
    expect(await bench.outbox.read(SESSION)).toEqual({ newRows: 0, done: [], failed: [], processing: [seq] });
    // unchanged file: the same answer without a look at it
    expect((await bench.outbox.read(SESSION)).processing).toEqual([seq]);
    expect(messagesIn(bench.cells)[0]?.status).toBe('pending');
  });

  test('an interrupted message keeps its tries and the time of the next, which is what wakes its session', async () => {
    const seq = hear(bench.cells);
    runner.ack(seq, 'interrupted', null, 2, 4_711);
    await bench.outbox.read(SESSION);
    expect(messagesIn(bench.cells)[0]).toMatchObject({ status: 'pending', tries: 2, next_try_at: 4_711 });
  });

  test('a message that its runner gave up is dead, people are told once, and so is the agent', async () => {
    const seq = hear(bench.cells, { chat: 'room' });
    runner.ack(seq, 'failed', 'it kills me', 5);
    expect((await bench.outbox.read(SESSION)).failed).toEqual([{ seq, error: 'it kills me' }]);
    await allSettled();
    expect(messagesIn(bench.cells)).toMatchObject([
      { seq, status: 'dead', tries: 5, last_error: 'it kills me' },
      { event_id: `dead/${SESSION}/${seq}`, lane: 'control', kind: 'system', trigger: 0, status: 'pending' },
    ]);
    expect(gateway.texts('room')).toHaveLength(1);
    expect(gateway.texts('room')[0]).not.toContain('kills');
  });

  test('a notice is said once per id', async () => {
    const notice = { id: 'full/1', channel: 'web', chat: 'home', text: 'please wait' };
    await bench.outbox.notice(SESSION, notice);
    await bench.outbox.notice(SESSION, notice);
    await allSettled();
    expect(gateway.texts()).toEqual(['please wait']);
    expect(notices(bench.cells)).toHaveLength(1);
  });

  test('a row for later holds up nobody, is not waited for, and goes out at its time, also after a restart', async () => {
    runner.say({ text: 'later', after: clock.now() + 60_000 });
    runner.say({ text: 'now' });
    await bench.outbox.read(SESSION);
    await allSettled();
    expect(gateway.texts()).toEqual(['now']);
    await bench.close();
    bench = reopen();
    await bench.outbox.resume(SESSION);
    clock.jump(60_000);
    await until(() => gateway.sent.length === 2);
    expect(gateway.texts()).toEqual(['now', 'later']);
  });

  test('rows written while a read is under way are found by the read that was asked for meanwhile', async () => {
    runner.say({ text: 'one' });
    const first = bench.outbox.read(SESSION);
    runner.say({ text: 'two' });
    const reads = await Promise.all([first, bench.outbox.read(SESSION), bench.outbox.read(SESSION)]);
    expect(reads.map((read) => read.newRows)).toEqual([1, 1, 1]); // the latter two are one read
    await allSettled();
    expect(gateway.texts()).toEqual(['one', 'two']);
  });
});

describe('edits and reactions', () => {
  test('an edit of an own message and a reaction to an inbound one carry the platform ids', async () => {
    const asked = hear(bench.cells, { chat: 'room', id: 'm-1' });
    const own = runner.say({ replyTo: asked, text: 'helo' });
    runner.say({ kind: 'edit', content: { target: own, text: 'hello' } });
    runner.say({ kind: 'reaction', content: { target: asked, emoji: '👍' } });
    await bench.outbox.read(SESSION);
    await allSettled();
    expect(gateway.sent.map(({ chat, target }) => [chat, target])).toEqual([
      ['room', ''],
      ['room', 'p1'],
      ['room', 'm-1'],
    ]);
  });

  test('an edit of an unknown or of an undelivered message is set aside with a sentence for the agent', async () => {
    const lost = runner.say({ to: 'nowhere' });
    const edit = runner.say({ kind: 'edit', content: { target: lost, text: 'x' } });
    const strange = runner.say({ kind: 'reaction', content: { target: 4_000, emoji: '👍' } });
    await bench.outbox.read(SESSION);
    expect(ledgerOf(bench.cells).map(({ seq, state, last_error }) => [seq, state, last_error])).toEqual([
      [lost, 'dead', 'there is no destination "nowhere"'],
      [edit, 'dead', `message ${lost} was never delivered`],
      [strange, 'dead', 'there is no message 4000 in a chat'],
    ]);
    expect(messagesIn(bench.cells).map((row) => JSON.parse(row.content))).toHaveLength(3);
    expect(gateway.calls).toHaveLength(0);
  });

  test('an edit whose message is still on its way waits behind it', async () => {
    gateway.act = ({ attempt }) => (attempt === 1 ? { type: 'retry' } : undefined);
    const own = runner.say({ text: 'a' });
    runner.say({ kind: 'edit', content: { target: own, text: 'b' } });
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, own).state === 'failed');
    clock.jump(1_000);
    await until(() => rowOf(bench.cells, own).state === 'delivered');
    await until(() => rowOf(bench.cells, own + 2).state === 'failed');
    clock.jump(1_000);
    await allSettled();
    expect(gateway.sent.map(({ target }) => target)).toEqual(['', 'p1']);
  });
});

describe('a question', () => {
  test('is known here before the platform could show it, and at the place it goes to now', async () => {
    const known: unknown[] = [];
    gateway.act = () => {
      known.push(bench.cells.open(SESSION).inbound.prepare('SELECT seq, question_id, chat, answer_seq FROM questions').get());
      return known.length === 1 ? { type: 'retry' } : undefined;
    };
    const content = { questionId: 'q', title: 'T', text: 'x', options: [{ label: 'Yes', value: 'y' }], expiresAt: 1 };
    const seq = runner.say({ kind: 'question', to: 'ops', content });
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'failed');
    bench.destinations.splice(0, 1, destination('ops', 'other-chat'));
    clock.jump(1_000);
    await allSettled();
    expect(known).toEqual(['ops-chat', 'other-chat'].map((chat) => ({ seq, question_id: 'q', chat, answer_seq: null })));
  });
});

describe('permission', () => {
  test('a destination removed while its message waits is a permission taken back', async () => {
    gateway.act = () => ({ type: 'retry' });
    const seq = runner.say({ to: 'ops' });
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'failed');
    bench.destinations.length = 0;
    gateway.act = () => undefined;
    clock.jump(1_000);
    await until(() => rowOf(bench.cells, seq).state === 'dead');
    expect(gateway.sent).toEqual([]);
    expect(rowOf(bench.cells, seq).last_error).toBe('there is no destination "ops"');
    expect(notices(bench.cells)).toEqual([]); // people there are not told of what may not be sent there
    expect(messagesIn(bench.cells).at(-1)).toMatchObject({ kind: 'system', trigger: 0 });
  });

  test('a destination that leads elsewhere now is followed', async () => {
    gateway.act = () => ({ type: 'retry' });
    const seq = runner.say({ to: 'ops' });
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'failed');
    bench.destinations[0] = destination('ops', 'new-chat');
    gateway.act = () => undefined;
    clock.jump(1_000);
    await allSettled();
    expect(gateway.sent.map(({ chat }) => chat)).toEqual(['new-chat']);
  });

  test('an empty cache is not a permission withdrawn: the row waits until the cache is there', async () => {
    bench.synced = false;
    const seq = runner.say({ to: 'ops' });
    await bench.outbox.read(SESSION);
    expect(rowOf(bench.cells, seq).state).toBe('queued');
    bench.synced = true;
    clock.jump(1_000);
    await until(() => rowOf(bench.cells, seq).state === 'delivered');
    expect(gateway.sent.map(({ chat }) => chat)).toEqual(['ops-chat']);
  });

  test('an edit in a chat that may not be written to any more is refused', async () => {
    const own = runner.say({ to: 'ops' });
    await bench.outbox.read(SESSION);
    await allSettled();
    bench.destinations.length = 0;
    const edit = runner.say({ kind: 'edit', content: { target: own, text: 'x' } });
    await bench.outbox.read(SESSION);
    expect(rowOf(bench.cells, edit).state).toBe('dead');
    expect(gateway.calls).toHaveLength(1);
  });
});

describe('failures', () => {
  test('Retry-After is obeyed to the millisecond, and the attempt count outlives a restart', async () => {
    gateway.act = () => ({ type: 'retry', afterMs: 30_000, reason: 'RateLimited' });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'failed');
    expect(rowOf(bench.cells, seq)).toMatchObject({
      attempts: 1,
      next_attempt_at: clock.now() + 30_000,
      last_error: 'the platform said later',
    });
    await bench.close();
    bench = reopen();
    await bench.outbox.resume(SESSION);
    clock.jump(29_999);
    await bench.outbox.read(SESSION);
    expect(gateway.calls).toHaveLength(1);
    gateway.act = () => undefined;
    clock.jump(1);
    await allSettled();
    expect(gateway.calls.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(rowOf(bench.cells, seq)).toMatchObject({ state: 'delivered', attempts: 2 });
  });

  test('waits double up to ten minutes, and a row that is too old is dead and the agent told, but not the chat that does not work', async () => {
    await bench.close();
    bench = reopen({ limits: { maxAgeMs: 3_600_000 } }); // a day as it is set takes long to live through
    gateway.act = () => ({ type: 'retry' });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    const waits: number[] = [];
    const started = clock.now();
    for (;;) {
      await until(() => ['failed', 'dead'].includes(rowOf(bench.cells, seq).state));
      const row = rowOf(bench.cells, seq);
      if (row.state === 'dead') break;
      waits.push(row.next_attempt_at - clock.now());
      const calls = gateway.calls.length;
      clock.jump(row.next_attempt_at - clock.now());
      await until(() => gateway.calls.length > calls && rowOf(bench.cells, seq).state !== 'sending');
    }
    expect(waits.slice(0, 5)).toEqual([500, 1_000, 2_000, 4_000, 8_000]);
    expect(Math.max(...waits)).toBe(300_000); // this random always picks the lower end of the jitter
    expect(clock.now() - started).toBeGreaterThanOrEqual(3_600_000);
    expect(rowOf(bench.cells, seq).last_error).toContain('tried for 1 h');
    expect(DEFAULT_OUTBOX_LIMITS.maxAgeMs).toBe(24 * 3_600_000);
    expect(notices(bench.cells)).toEqual([]);
    expect(messagesIn(bench.cells)).toMatchObject([{ event_id: `dead/${SESSION}/${seq}` }]);
  });

  test('a refused message is dead; people are told when the chat works, and the next message goes out', async () => {
    gateway.act = ({ content }) =>
      content.includes('big') ? { type: 'refuse', reason: 'TooLarge', message: 'it is too large' } : undefined;
    const big = runner.say({ text: 'big' });
    runner.say({ text: 'small' });
    await bench.outbox.read(SESSION);
    await allSettled();
    expect(rowOf(bench.cells, big)).toMatchObject({ state: 'dead', last_error: 'it is too large' });
    expect(gateway.texts('home').toSorted()).toEqual(['A message could not be delivered here: it is too large.', 'small']);
  });

  test('nobody is told in a chat that is gone', async () => {
    gateway.act = () => ({ type: 'refuse', reason: 'NotFound', message: 'the chat is gone' });
    runner.say({});
    await bench.outbox.read(SESSION);
    await allSettled();
    expect(notices(bench.cells)).toEqual([]);
    expect(gateway.calls).toHaveLength(1);
  });

  test('a dead letter is listed, tried again, and delivered', async () => {
    gateway.act = () => ({ type: 'refuse', reason: 'Forbidden', message: 'the bot was removed' });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await allSettled();
    expect(bench.outbox.deadLetters(SESSION, 10)).toMatchObject([
      { seq, direction: 'out', chat: 'home', lastError: 'the bot was removed', attempts: 1 },
    ]);
    gateway.act = () => undefined;
    expect(await bench.outbox.retry(SESSION, seq)).toBe(seq);
    await allSettled();
    expect(bench.outbox.deadLetters(SESSION, 10)).toEqual([]);
    expect(gateway.texts()).toEqual(['hi']);
    expect(await bench.outbox.retry(SESSION, seq)).toBeUndefined();
  });

  test('a row that led nowhere is tried again once its destination exists', async () => {
    const seq = runner.say({ to: 'later' });
    await bench.outbox.read(SESSION);
    bench.destinations.push(destination('later', 'late-chat'));
    await bench.outbox.retry(SESSION, seq);
    await allSettled();
    expect(gateway.sent.map(({ chat }) => chat)).toEqual(['late-chat']);
  });

  test('a dead inbound message is tried again as a new row', async () => {
    const seq = hear(bench.cells, { chat: 'room' });
    runner.ack(seq, 'failed', 'boom', 5);
    await bench.outbox.read(SESSION);
    const again = await bench.outbox.retry(SESSION, seq);
    const rows = messagesIn(bench.cells);
    expect(rows.find((row) => row.seq === seq)?.status).toBe('done');
    expect(rows.find((row) => row.seq === again)).toMatchObject({ status: 'pending', chat: 'room', trigger: 1, tries: 0 });
  });

  test('a missing adapter is a retry, not a success', async () => {
    gateway.act = () => ({ type: 'retry', reason: 'NoAdapter' });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'failed');
    expect(rowOf(bench.cells, seq).platform_message_id).toBeNull();
  });

  test('a gateway that is not there, or says so itself, has surely sent nothing', async () => {
    gateway.act = () => ({ type: 'status', code: status.UNAVAILABLE });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'failed');
    await gateway.close();
    clock.jump(1_000);
    await until(() => rowOf(bench.cells, seq).attempts === 2 && rowOf(bench.cells, seq).state !== 'sending');
    expect(rowOf(bench.cells, seq).state).toBe('failed');
    expect(gateway.settles).toEqual([]);
  });

  test('an answer that never comes leaves the row in doubt, and it is asked for before anything is sent again', async () => {
    gateway.act = () => ({ type: 'silent' });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await until(() => gateway.sent.length === 1);
    clock.jump(30_000);
    await until(() => rowOf(bench.cells, seq).state === 'in_doubt');
    clock.jump(1_000);
    await allSettled();
    expect(gateway.settles).toHaveLength(1);
    expect(gateway.sent).toHaveLength(1);
    expect(rowOf(bench.cells, seq)).toMatchObject({ state: 'delivered', platform_message_id: 'p1' });
  });

  test('a gateway that dies in mid-call leaves the row in doubt; when it was not sent, it is sent', async () => {
    gateway.act = () => ({ type: 'hold', until: new Promise(() => {}) });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await until(() => gateway.calls.length === 1);
    const { address } = gateway;
    await gateway.close();
    await until(() => rowOf(bench.cells, seq).state === 'in_doubt');
    gateway = await startScriptedPlatform(address);
    for (let i = 0; i < 50 && !isOpen(); i++) {
      clock.jump(600_000);
      await new Promise((resolve) => setImmediate(resolve));
      await until(() => rowOf(bench.cells, seq).state !== 'sending');
    }
    await allSettled();
    expect(gateway.sent.map(({ key }) => key)).toEqual([`${SESSION}/${seq}/0`]);
  });

  test.each([
    ['Resend', 2, 'delivered'],
    ['DeadLetter', 1, 'dead'],
  ])('what can be neither confirmed nor denied follows the policy %s of its channel', async (policy, times, state) => {
    gateway.act = ({ attempt, content }) =>
      attempt === 1 && content.includes('"hi"') ? { type: 'retry', maybeSent: true, sent: true } : undefined;
    gateway.settle = () => ({ verdict: 3, policy });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'in_doubt');
    clock.jump(1_000);
    await allSettled();
    expect(gateway.texts().filter((text) => text === 'hi')).toHaveLength(times);
    expect(rowOf(bench.cells, seq).state).toBe(state);
  });

  test('a call that outlives its delivery is waited for: its message is not sent a second time beside it', async () => {
    const slow = Promise.withResolvers<void>();
    gateway.act = () => ({ type: 'hold', until: slow.promise });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await until(() => gateway.calls.length === 1);
    const closing = bench.close();
    clock.advance(10_000);
    await closing;
    bench = reopen({});
    await bench.outbox.resume(SESSION);
    await until(() => gateway.settles.length === 1);
    await until(() => rowOf(bench.cells, seq).state === 'in_doubt');
    expect(gateway.calls).toHaveLength(1);
    slow.resolve();
    await until(() => gateway.sent.length === 1);
    clock.advance(25_000);
    await allSettled();
    expect(gateway.calls).toHaveLength(1);
    expect(rowOf(bench.cells, seq)).toMatchObject({ state: 'delivered', platform_message_id: 'p1' });
  });

  test('an error of ours in the middle of a delivery is settled as a crash is, without a restart', async () => {
    await bench.close();
    let bugs = 1;
    bench = reopen({
      reached: (point) => {
        if (point === 'delivery/after-call-before-record' && bugs-- > 0) throw new Error('a bug');
      },
    });
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'in_doubt');
    clock.jump(1_000);
    await allSettled();
    expect(gateway.sent).toHaveLength(1);
    expect(rowOf(bench.cells, seq)).toMatchObject({ state: 'delivered', platform_message_id: 'p1' });
  });

  test('an outcome that cannot be recorded is recorded later, and nothing goes twice', async () => {
    await bench.close();
    let answered = false;
    bench = reopen({
      reached: (point) => {
        answered ||= point === 'delivery/after-call-before-record';
      },
    });
    const { inbound } = bench.cells.open(SESSION);
    gateway.act = () => {
      inbound.exec("CREATE TEMP TRIGGER full BEFORE UPDATE ON main.delivered BEGIN SELECT raise(ABORT, 'no room'); END");
      return undefined;
    };
    const seq = runner.say({});
    await bench.outbox.read(SESSION);
    await until(() => gateway.sent.length === 1);
    gateway.act = () => undefined;
    await until(() => answered);
    expect(rowOf(bench.cells, seq).state).toBe('sending');
    inbound.exec('DROP TRIGGER temp.full');
    clock.jump(1_000);
    await allSettled();
    expect(rowOf(bench.cells, seq)).toMatchObject({ state: 'delivered', attempts: 1 });
    expect(gateway.calls).toHaveLength(1);
    expect(gateway.settles).toEqual([]);
  });

  test('a chat that fails or hangs delays only itself', async () => {
    const gate = Promise.withResolvers<void>();
    gateway.act = ({ chat }) =>
      chat === 'hangs' ? { type: 'hold', until: gate.promise } : chat === 'fails' ? { type: 'retry' } : undefined;
    const [hangs, fails, works] = ['hangs', 'fails', 'works'].map((chat) => hear(bench.cells, { chat }));
    for (let i = 0; i < 5; i++) for (const replyTo of [hangs, fails, works]) runner.say({ replyTo: replyTo ?? 0, text: String(i) });
    await bench.outbox.read(SESSION);
    await until(() => gateway.texts('works').length === 5);
    expect(gateway.texts('works')).toEqual(['0', '1', '2', '3', '4']);
    expect(
      gateway.calls
        .filter(({ chat }) => chat !== 'works')
        .map(({ chat }) => chat)
        .toSorted(),
    ).toEqual(['fails', 'hangs']);
    gate.resolve();
    await until(() => gateway.texts('hangs').length === 5);
    gateway.act = () => undefined;
    clock.jump(1_000);
    await allSettled();
    expect(gateway.texts('fails')).toEqual(['0', '1', '2', '3', '4']);
  });

  test('a channel whose every chat hangs takes its own share of the calls only', async () => {
    await bench.close();
    bench = reopen({ limits: { maxCallsPerChannel: 2, maxCalls: 4 } });
    const gate = Promise.withResolvers<void>();
    gateway.act = ({ channel }) => (channel === 'stuck' ? { type: 'hold', until: gate.promise } : undefined);
    for (let i = 0; i < 10; i++) bench.destinations.push(destination(`stuck${i}`, `s${i}`, 'stuck'));
    for (let i = 0; i < 10; i++) runner.say({ to: `stuck${i}` });
    for (let i = 0; i < 5; i++) runner.say({ text: `w${i}` });
    await bench.outbox.read(SESSION);
    await until(() => gateway.texts('home').length === 5);
    expect(gateway.calls.filter(({ channel }) => channel === 'stuck')).toHaveLength(2);
    gate.resolve();
    await allSettled();
    expect(gateway.sent).toHaveLength(15);
  });
});

describe('long texts', () => {
  test('parts go one after the other, each recorded, and a failure goes on with the part it stopped at', async () => {
    gateway.act = ({ part, attempt }) => (part === 1 && attempt === 1 ? { type: 'retry' } : { type: 'deliver', more: part < 2 });
    const seq = runner.say({ text: 'long' });
    runner.say({ text: 'next' });
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'failed');
    expect(rowOf(bench.cells, seq)).toMatchObject({ part: 1, part_ids: '["p1"]' });
    await bench.close();
    bench = reopen();
    await bench.outbox.resume(SESSION);
    gateway.act = ({ content, part }) => ({ type: 'deliver', more: content.includes('long') && part < 2 });
    clock.jump(1_000);
    await allSettled();
    expect(gateway.sent.map(({ key }) => key)).toEqual([
      `${SESSION}/${seq}/0`,
      `${SESSION}/${seq}/1`,
      `${SESSION}/${seq}/2`,
      `${SESSION}/${seq + 2}/0`,
    ]);
    expect(rowOf(bench.cells, seq)).toMatchObject({ state: 'delivered', platform_message_id: 'p1', part_ids: '["p1","p2","p3"]' });
  });
});
