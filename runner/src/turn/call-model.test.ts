import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Inbox } from '../inbox/inbox.ts';
import { noCrash } from '../lifecycle/crash-point.ts';
import { silentLog } from '../lifecycle/log.ts';
import { WaitCutError } from '../lifecycle/wait-cut.ts';
import { Outbox } from '../outbox/outbox.ts';
import { type Answer, type Provider, ProviderError, type ProviderRequest } from '../providers/provider.ts';
import { TestCell } from '../testing/cell.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { type AdministratorWaits, administratorWait, withoutWait } from './administrator-wait.ts';
import { type CallOptions, callModel, RETRY_STATE, type RetryState } from './call-model.ts';

const ANSWER: Answer = {
  type: 'answer',
  blocks: [{ type: 'text', text: 'hi' }],
  stop: 'end',
  model: 'm',
  usage: { inputTokens: 1, outputTokens: 1 },
};
const busy = (retryAfterMs?: number): ProviderError => ProviderError.transient('RateLimited', 'busy', { retryAfterMs });

let cell: TestCell;
let inbox: Inbox;
let outbox: Outbox;
let clock: ManualClock;
let stop: AbortController;
let drain: AbortController;
beforeEach(() => {
  cell = new TestCell();
  inbox = Inbox.open(cell.inboundPath);
  clock = new ManualClock(1_000_000);
  outbox = Outbox.open(cell.outboundPath, { inbox, clock, onRows: () => {} });
  stop = new AbortController();
  drain = new AbortController();
});
afterEach(() => {
  outbox.close();
  inbox.close();
  cell.remove();
});

/** Fails in these ways, then answers; `hang` gives no event. */
function provider(...failures: (ProviderError | 'hang')[]): Provider & { readonly attempts: number[] } {
  const attempts: number[] = [];
  return {
    name: 'scripted',
    defaultModel: 'm',
    transcriptChars: 1_000,
    compactsItself: () => false,
    attempts,
    async *stream(request: ProviderRequest, { signal }) {
      attempts.push(request.attempt);
      const failure = failures[request.attempt];
      if (failure === 'hang') await clock.sleep(1e9, signal);
      else if (failure !== undefined) throw failure;
      yield { type: 'progress' };
      yield ANSWER;
    },
  };
}

interface Running {
  readonly result: () => Answer | Error | undefined;
  readonly waits: number[];
}
function call(candidate: Provider, fields: Partial<CallOptions> = {}): Running {
  let result: Answer | Error | undefined;
  const waits: number[] = [];
  callModel(
    candidate,
    { system: '', tools: [], messages: [], model: undefined, effort: 'medium', turn: 't', interruptions: 0 },
    {
      call: '2/1',
      statusId: 't/1/busy',
      replyTo: 2,
      noProgressMs: 120_000,
      signal: stop.signal,
      drain: drain.signal,
      onTry: () => {},
      onEvent: () => {},
      onWait: (until) => waits.push(until - clock.now()),
      ...fields,
    },
    { clock, random: { fraction: () => 1, id: () => 'x' }, log: silentLog, outbox, reached: noCrash },
  ).then(
    (answer) => {
      result = answer;
    },
    (e: Error) => {
      result = e;
    },
  );
  return { result: () => result, waits };
}

describe('a call of the model', () => {
  test('waits as long as the provider says, and longer and longer where it says nothing', async () => {
    const candidate = provider(busy(2_000), busy(), busy(), busy(), busy(), busy(), busy(), busy(), busy());
    const running = call(candidate);
    await clock.runUntil(() => running.result() !== undefined);
    expect(running.result()).toBe(ANSWER);
    expect(running.waits).toEqual([2_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(candidate.attempts).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test('tells people once when it takes long, and not at all when it does not', async () => {
    const short = call(provider(busy(), busy()));
    await clock.runUntil(() => short.result() !== undefined);
    expect(cell.texts()).toEqual([]);
    outbox.commit({ state: { [RETRY_STATE]: undefined } });
    const long = call(provider(...Array.from({ length: 8 }, () => busy())));
    await clock.runUntil(() => long.result() !== undefined);
    expect(cell.texts()).toEqual(['The model is busy right now. I keep trying; you need not send your message again.']);
    expect(cell.sent()[0]?.in_reply_to).toBe(2);
  });

  test('goes on in a new process where the old one was: neither the wait nor the status line begins anew', async () => {
    outbox.commit({
      state: { [RETRY_STATE]: { call: '2/1', attempts: 3, firstAt: 900_000, nextAt: 1_030_000, told: true } satisfies RetryState },
    });
    const candidate = provider(busy(), busy(), busy(), busy());
    const running = call(candidate);
    await clock.runUntil(() => running.result() !== undefined);
    expect(candidate.attempts).toEqual([3, 4]);
    expect(running.waits[0]).toBe(30_000);
    expect(cell.texts()).toEqual([]);
  });

  test("leaves another call's waits alone", async () => {
    outbox.commit({
      state: { [RETRY_STATE]: { call: '8/1', attempts: 3, firstAt: 0, nextAt: 9_000_000, told: true } satisfies RetryState },
    });
    const running = call(provider());
    await clock.runUntil(() => running.result() !== undefined);
    expect(running.waits).toEqual([]);
  });

  test('without a sign of life is cancelled after the time for that, and tried again', async () => {
    const running = call(provider('hang'));
    await clock.runUntil(() => running.result() !== undefined);
    expect(running.result()).toBe(ANSWER);
    expect(clock.slept).toContain(120_000);
    expect(outbox.getState(RETRY_STATE)).toMatchObject({ attempts: 1 });
  });

  test('that takes ten minutes but shows life is not cancelled', async () => {
    const slow: Provider = {
      ...provider(),
      async *stream(_request, { signal }) {
        for (let minute = 0; minute < 10; minute += 1) {
          await clock.sleep(60_000, signal);
          yield { type: 'progress' };
        }
        yield ANSWER;
      },
    };
    const running = call(slow);
    await clock.runUntil(() => running.result() !== undefined);
    expect(running.result()).toBe(ANSWER);
    expect(clock.now()).toBe(1_000_000 + 600_000);
    expect(running.waits).toEqual([]);
  });

  test('tries a refused credential three times, as it may just be exchanged', async () => {
    const refused = ProviderError.permanent('Unauthenticated', 'no');
    const candidate = provider(refused, refused, refused);
    const running = call(candidate);
    await clock.runUntil(() => running.result() !== undefined);
    expect(running.result()).toBe(refused);
    expect(candidate.attempts).toEqual([0, 1, 2]);
    expect(cell.texts()).toEqual([]);
  });

  test('gives up at once what is refused for good', async () => {
    const refused = ProviderError.permanent('BadRequest', 'no');
    const candidate = provider(refused);
    const running = call(candidate);
    await clock.runUntil(() => running.result() !== undefined);
    expect([running.result(), candidate.attempts]).toEqual([refused, [0]]);
  });

  test('ends at once by a stop, also while it waits', async () => {
    for (const failure of [busy(), 'hang'] as const) {
      stop = new AbortController();
      const reason = new Error('stopped');
      const running = call(provider(failure, failure, failure), { call: `${failure}` });
      for (let n = 0; n < 5; n += 1) await new Promise((resolve) => setImmediate(resolve));
      stop.abort(reason);
      await clock.runUntil(() => running.result() !== undefined);
      expect(running.result()).toBe(reason);
    }
  });

  test('is cut by a drain only while it waits, and says when the wait is over', async () => {
    const running = call(provider(busy(50_000)));
    for (let n = 0; n < 5; n += 1) await new Promise((resolve) => setImmediate(resolve));
    drain.abort();
    await clock.runUntil(() => running.result() !== undefined);
    expect(running.result()).toBeInstanceOf(WaitCutError);
    expect((running.result() as WaitCutError).nextTryAt).toBe(1_050_000);
  });
});

describe('the wait for an administrator', () => {
  test('begins with a minute, doubles to an hour, tells once, and ends after a day', () => {
    let waiting: AdministratorWaits = {};
    const waits: number[] = [];
    let now = 0;
    let tells = 0;
    for (let wait = administratorWait(waiting, '2/1', now); wait !== undefined; wait = administratorWait(waiting, '2/1', now)) {
      waits.push((wait.nextAt - now) / 60_000);
      if (!wait.told) tells += 1;
      waiting = wait.waits;
      now = wait.nextAt;
    }
    expect(waits.slice(0, 8)).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    expect(tells).toBe(1);
    expect(now).toBeGreaterThan(24 * 3_600_000);
    expect(now).toBeLessThan(26 * 3_600_000);
    expect(withoutWait(waiting, '2/1')).toBeUndefined();
  });

  test('is one of each message: of two that take turns, each is told once and tried later and later', () => {
    const told: string[] = [];
    const due = new Map([
      ['2/1', 0],
      ['4/1', 30_000],
    ]);
    let waiting: AdministratorWaits = {};
    for (let tries = 0; tries < 20; tries += 1) {
      const [[call, now] = ['', 0]] = [...due].sort(([, a], [, b]) => a - b);
      const wait = administratorWait(waiting, call, now);
      if (wait?.told === false) told.push(call);
      waiting = wait?.waits ?? {};
      due.set(call, wait?.nextAt ?? Number.POSITIVE_INFINITY);
    }
    expect(told).toEqual(['2/1', '4/1']);
    expect(Math.min(...due.values())).toBeGreaterThan(2 * 3_600_000);
    expect(Object.keys(withoutWait(waiting, '2/1') ?? {})).toEqual(['4/1']);
  });

  test('goes on beyond a day, and not a moment too long, while it is said when it ends by itself', () => {
    const waiting = { '2/1': { attempts: 40, firstAt: 0 } };
    const now = 10 * 24 * 3_600_000;
    expect(administratorWait(waiting, '2/1', now)).toBeUndefined();
    expect(administratorWait(waiting, '2/1', now, 3_600_000)?.nextAt).toBe(now + 3_600_000);
    expect(administratorWait(waiting, '2/1', now, 5_000)?.nextAt).toBe(now + 5_000);
  });
});
