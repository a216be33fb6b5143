import type { AgentGroup } from '@dovecote/crds';
import { attach, type PreviewRow, platform } from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Counter, Registry } from 'prom-client';
import { noCrash } from '../../lib/crash-point.ts';
import { CHANNEL_OPTIONS } from '../../lib/grpc.ts';
import { silentLog } from '../../lib/log.ts';
import { ManualClock } from '../../lib/manual-clock.ts';
import { Background } from '../background.ts';
import { RateLimiter } from '../outbox/rate-limit.ts';
import {
  type Bench,
  channel,
  hear,
  makeCell,
  makeFolder,
  openBench,
  RunnerHand,
  remove,
  rowOf,
  SESSION,
  until,
} from '../outbox/testing/bench-cell.ts';
import { type ScriptedPlatform, startScriptedPlatform } from '../outbox/testing/scripted-platform.ts';
import { PreviewCalls } from './preview-calls.ts';
import { PREVIEW_AFTER_MS, Previews } from './previews.ts';
import { TypingIndicator } from './typing.ts';

let root: string;
let gateway: ScriptedPlatform;
let clock: ManualClock;
let runner: RunnerHand;
let bench: Bench;
let previews: Previews;
let typing: TypingIndicator;
let asked: number;
let chatSpec: AgentGroup['spec']['chat'];
let partial: attach.PartialText | undefined;
let progress: attach.Progress | undefined;
let stop: () => Promise<void>;

/** One process of delivery over the folder: the outbox, and what shows answers before it. */
function begin(): void {
  let take: Previews['take'] | undefined;
  bench = openBench({ root, address: gateway.address, clock, previewOf: (...args) => take?.(...args) });
  bench.channels.set('web', channel('web', { type: 'telegram' }));
  const { cells } = bench;
  const failures = new Counter({ name: 'failures', help: '-', labelNames: ['work'], registers: [new Registry()] });
  const outcomes = new Counter({ name: 'outcomes', help: '-', labelNames: ['outcome'], registers: [new Registry()] });
  const background = new Background({ log: silentLog, failures });
  const client = new platform.PlatformClient(gateway.address, credentials.createInsecure(), CHANNEL_OPTIONS);
  const calls = new PreviewCalls({ client, tokens: { token: async () => 'token' } });
  const channels = { get: (name: string) => bench.channels.get(name) };
  const destinations = { hasSynced: true, byIndex: () => bench.destinations };
  const hub = { partial: () => partial, progress: () => progress };
  const common = { cells, hub, destinations, calls, background, clock, log: silentLog };
  const limiter = new RateLimiter(channels, clock, clock.now() - 60_000);
  const agentGroups = { get: () => ({ spec: { chat: chatSpec } }) as AgentGroup };
  previews = new Previews({ ...common, agentGroups, limiter, reached: noCrash, outcomes });
  typing = new TypingIndicator({ ...common, channels });
  take = (...args) => previews.take(...args);
  const stopping = new AbortController();
  const running = Promise.allSettled([previews.run(stopping.signal), typing.run(stopping.signal)]);
  stop = async () => {
    stopping.abort(new Error('the test is over'));
    await running;
    await background.close();
    client.close();
    await bench.close();
  };
}

beforeEach(async () => {
  root = makeFolder();
  gateway = await startScriptedPlatform();
  gateway.preview = () => undefined;
  clock = new ManualClock();
  [partial, progress] = [undefined, undefined];
  chatSpec = { streaming: true, toolLine: true };
  begin();
  makeCell(bench.cells);
  runner = new RunnerHand(root);
  asked = hear(bench.cells, { chat: 'home', id: 'm-1' });
});
afterEach(async () => {
  runner.close();
  await stop();
  await gateway.close();
  remove(root);
});

const rowsOf = (): PreviewRow[] =>
  bench.cells.open(SESSION).inbound.prepare('SELECT * FROM previews ORDER BY created_at').all() as PreviewRow[];
const state = (): string | undefined => rowsOf()[0]?.state;
const seen = (): string[] => [...gateway.standing.values()].map(({ text }) => text);

function write(text: string, turnId = 'tA'): void {
  partial = text === '' ? undefined : { turnId, step: 1, inReplyTo: asked, text };
  work('model', turnId);
}
function work(activity: string, turnId = 'tA'): void {
  progress = { phase: attach.Progress_Phase.TURN, turnId, activity, deadlineMs: 0, atMs: 0, jobsUntilMs: 0 };
  previews.heard(SESSION);
  typing.heard(SESSION);
}
function idle(): void {
  [partial, progress] = [
    undefined,
    { phase: attach.Progress_Phase.IDLE, turnId: '', activity: '', deadlineMs: 0, atMs: 0, jobsUntilMs: 0 },
  ];
  previews.heard(SESSION);
  typing.heard(SESSION);
}
async function answer(text: string, turnId = 'tA'): Promise<number> {
  const seq = runner.say({ id: `${turnId}/1/0`, replyTo: asked, text });
  await bench.outbox.read(SESSION);
  return seq;
}
/** Lets time pass in steps, as it does, until the condition holds. */
async function pass(condition: () => boolean, what: string): Promise<void> {
  await until(() => {
    clock.jump(100);
    return condition();
  }, what);
}
/** Lets everything happen that would, in so much time. */
async function quiet(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    clock.jump(100);
    for (let n = 0; n < 20; n += 1) await new Promise((resolve) => setImmediate(resolve));
  }
}
async function shown(text = 'One'): Promise<void> {
  write(text);
  await pass(() => state() === 'shown', 'a preview');
}
const delivered = (seq: number): Promise<void> => pass(() => rowOf(bench.cells, seq).state === 'delivered', 'its delivery');

describe('an answer that is being written', () => {
  test('an answer that is soon whole makes no preview: no call, no row', async () => {
    write('One');
    await quiet(PREVIEW_AFTER_MS - 200);
    await answer('One two');
    idle();
    await quiet(5_000);
    expect([gateway.previews, rowsOf(), seen()]).toEqual([[], [], ['One two']]);
  });

  test('is one message that grows, not sooner than the platform wants, and that the answer replaces', async () => {
    await shown('One');
    expect(gateway.previews).toMatchObject([{ channel: 'web', chat: 'home', replyToMessageId: 'm-1', messageId: '', text: 'One' }]);
    for (const text of ['One two', 'One two three', 'One two three four']) {
      write(text);
      await quiet(300);
    }
    expect(gateway.previews.length).toBe(1);
    await pass(() => seen()[0] === 'One two three four', 'the newest text');
    expect(gateway.previews.length).toBe(2);
    const seq = await answer('The answer');
    idle();
    await delivered(seq);
    await quiet(30_000);
    expect(seen()).toEqual(['The answer']);
    expect(gateway.sent).toMatchObject([{ target: 'v1', id: 'v1' }]);
    expect(state()).toBe('taken');
  });

  test('a message of a tool, or one for another chat, does not take its place', async () => {
    await shown();
    runner.say({ id: 'tA/1/t0', replyTo: asked, text: 'by a tool' });
    runner.say({ id: 'tA/1/7', to: 'ops', text: 'elsewhere' });
    await bench.outbox.read(SESSION);
    await pass(() => gateway.sent.length === 2, 'both');
    const seq = await answer('The answer', 'tA');
    await delivered(seq);
    expect(gateway.sent.map(({ target, content }) => [target, (content as { text: string }).text]).sort()).toEqual([
      ['', 'by a tool'],
      ['', 'elsewhere'],
      ['v1', 'The answer'],
    ]);
  });

  test('a turn that ends without an answer takes it back; one whose answer cannot be sent yet does not', async () => {
    await shown();
    idle();
    await pass(() => state() === 'gone', 'the end of it');
    expect(seen()).toEqual([]);
    write('More', 'tB');
    await pass(() => rowsOf()[1]?.state === 'shown', 'another');
    gateway.act = () => ({ type: 'retry', afterMs: 60_000 });
    const seq = await answer('The answer', 'tB');
    idle();
    await pass(() => gateway.calls.length === 1, 'a try');
    await quiet(40_000);
    expect(seen()).toEqual(['More']);
    gateway.act = () => undefined;
    await delivered(seq);
    expect(seen()).toEqual(['The answer']);
  });

  test('an answer never overtakes a preview that is on its way, nor waits long for one that hangs', async () => {
    const gate = Promise.withResolvers<undefined>();
    gateway.preview = () => gate.promise;
    write('One');
    await pass(() => gateway.previews.length === 1, 'the call');
    const seq = await answer('The answer');
    await quiet(1_000);
    expect(gateway.calls).toEqual([]);
    gate.resolve(undefined);
    await delivered(seq);
    expect(seen()).toEqual(['The answer']);

    const never = Promise.withResolvers<undefined>();
    gateway.preview = ({ text }) => (text === '' ? undefined : never.promise);
    write('Two', 'tB');
    await pass(() => gateway.previews.length === 2, 'the call');
    const second = await answer('The second answer', 'tB');
    await quiet(2_500);
    await delivered(second);
    expect(seen()).toEqual(['The answer', 'The second answer']);
    // It came through after all: it is taken back, the answer stays.
    never.resolve(undefined);
    idle();
    await pass(() => rowsOf()[1]?.state === 'gone', 'the end of it');
    expect(seen()).toEqual(['The answer', 'The second answer']);

    // The same for a change: it could overwrite an answer that stood in the place of the preview.
    gateway.preview = () => undefined;
    write('Three', 'tC');
    await pass(() => rowsOf()[2]?.state === 'shown', 'a third');
    const late = Promise.withResolvers<undefined>();
    gateway.preview = ({ text }) => (text === '' ? undefined : late.promise);
    write('Three and more', 'tC');
    await pass(() => gateway.previews.at(-1)?.text === 'Three and more', 'the change');
    const third = await answer('The third answer', 'tC');
    await quiet(2_500);
    await delivered(third);
    late.resolve(undefined);
    await until(() => seen().includes('Three and more'), 'that it came through late');
    idle();
    await pass(() => rowsOf()[2]?.state === 'gone', 'the end of it');
    expect(seen()).toEqual(['The answer', 'The second answer', 'The third answer']);
  });

  test('a preview that people removed: no further one in this turn, and the answer is a message of its own', async () => {
    await shown();
    gateway.standing.clear();
    write('One two');
    await pass(() => state() === 'gone', 'that it is gone');
    write('One two three');
    await quiet(5_000);
    await delivered(await answer('The answer'));
    expect([gateway.previews.length, seen()]).toEqual([2, ['The answer']]);
  });

  test('a platform that says when to come again is left alone until then; one that has none is not asked again', async () => {
    await shown();
    const busy = { $case: 'failed', value: { reason: 'RateLimited', message: '', afterMs: 20_000, maybeSent: false } } as const;
    gateway.preview = () => busy;
    write('One two');
    await pass(() => gateway.previews.length === 2, 'the refusal');
    gateway.preview = () => undefined;
    write('One two three');
    await quiet(18_000);
    expect(gateway.previews.length).toBe(2);
    await pass(() => seen()[0] === 'One two three', 'the newest text');
    await delivered(await answer('The answer'));
    delete gateway.preview;
    write('More', 'tB');
    await pass(() => rowsOf()[1]?.state === 'gone', 'that there are none');
    gateway.preview = () => undefined;
    write('More', 'tC');
    await quiet(5_000);
    expect(rowsOf().length).toBe(2);
  });

  test('an agent that wants none gets none; a tool is named while it runs where that is wanted', async () => {
    chatSpec = { streaming: false, toolLine: true };
    write('One');
    await quiet(5_000);
    expect(gateway.previews).toEqual([]);
    chatSpec = { streaming: true, toolLine: true };
    write('I look.', 'tB');
    await pass(() => seen().length === 1, 'a preview');
    work('exec', 'tB');
    await pass(() => seen()[0] === 'I look.\n\n_using exec …_', 'the line');
    partial = undefined;
    work('send_message', 'tB');
    await pass(() => seen()[0] === '_using send_message …_', 'the line alone');
    work('ask_user_question', 'tB'); // the question says it
    await quiet(5_000);
    expect(seen()).toEqual(['_using send_message …_']);
    chatSpec = { streaming: true, toolLine: false };
    idle();
    await pass(() => seen().length === 0, 'the end of it');
    work('exec', 'tC');
    await quiet(5_000);
    expect(rowsOf().length).toBe(1);
  });

  test('previews take only what the platform has to spare', async () => {
    bench.channels.set('web', channel('web', { type: 'telegram', rateLimit: { perSecond: 1, burst: 1 } }));
    write('One');
    await quiet(5_000);
    expect(gateway.previews).toEqual([]);
  });
});

describe('after a crash of delivery', () => {
  /** The process ends without a word, and another takes the files. */
  async function crash(): Promise<void> {
    await stop();
    [partial, progress] = [undefined, undefined];
    begin();
    previews.resume(SESSION);
    await bench.outbox.resume(SESSION);
  }

  test('a turn that still runs goes on with its message, and the answer replaces it', async () => {
    await shown();
    runner.db.exec(`INSERT INTO turns (id, state, provider, started_at) VALUES ('tA', 'running', 'demo', 1)`);
    await crash();
    await quiet(60_000);
    expect(seen()).toEqual(['One']);
    write('One two');
    await pass(() => seen()[0] === 'One two', 'the newest text');
    runner.db.exec(`UPDATE turns SET state = 'done'`);
    await delivered(await answer('The answer'));
    expect(seen()).toEqual(['The answer']);
  });

  test('what an ended turn left standing is removed', async () => {
    await shown();
    await crash();
    await pass(() => state() === 'gone', 'the removal');
    expect(seen()).toEqual([]);
  });

  test.each([
    ['it stands there', true],
    ['it was never made', false],
  ])('a message of which nothing was recorded is asked for by its key: %s', async (_, stands) => {
    gateway.preview = () => ({ $case: 'failed', value: { reason: 'NoAnswer', message: '', afterMs: 0, maybeSent: true } });
    write('One');
    await pass(() => gateway.previews.length === 1, 'the call');
    await until(() => seen().length === 1);
    if (!stands) gateway.standing.clear();
    gateway.preview = () => undefined;
    expect(state()).toBe('posting');
    await crash();
    await pass(() => state() === 'gone', 'that it is settled');
    expect(gateway.settles).toMatchObject([{ request: { idempotencyKey: `${SESSION}/tA/preview` } }]);
    expect([gateway.previews.length, seen()]).toEqual([stands ? 2 : 1, []]);
  });

  test('where the platform cannot tell, what may stand there is left, and the answer is sent', async () => {
    gateway.preview = () => ({ $case: 'failed', value: { reason: 'NoAnswer', message: '', afterMs: 0, maybeSent: true } });
    gateway.settle = () => ({ verdict: platform.SettleResponse_Verdict.UNKNOWABLE });
    write('One');
    await pass(() => gateway.previews.length === 1, 'the call');
    await crash();
    await pass(() => state() === 'gone', 'that it is given up');
    await delivered(await answer('The answer'));
    expect(seen()).toEqual(['One', 'The answer']);
  });
});

describe('that somebody types', () => {
  test('is shown at once, again before it fades, not behind a message until the turn goes on, and not after the end', async () => {
    work('model');
    await until(() => gateway.typings.length === 1, 'the first');
    expect(gateway.typings[0]).toMatchObject({ channel: 'web', chat: 'home', thread: '' });
    clock.jump(3_000);
    work('exec'); // more news of the same turn is no reason
    await quiet(500);
    expect(gateway.typings.length).toBe(1);
    await pass(() => gateway.typings.length === 2, 'the second');
    typing.delivered(SESSION, 'web/elsewhere');
    await pass(() => gateway.typings.length === 3, 'the third');
    typing.delivered(SESSION, 'web/home');
    await quiet(10_000);
    expect(gateway.typings.length).toBe(3);
    work('model');
    await until(() => gateway.typings.length === 4, 'it goes on');
    work('ask_user_question');
    await quiet(10_000);
    expect(gateway.typings.length).toBe(4);
    work('model');
    await until(() => gateway.typings.length === 5, 'it goes on again');
    idle();
    await quiet(10_000);
    expect(gateway.typings.length).toBe(5);
  });

  test('is not shown where the platform has no such thing', async () => {
    bench.channels.set('web', channel('web', { type: 'slack' }));
    work('model');
    await quiet(5_000);
    expect(gateway.typings).toEqual([]);
  });
});
