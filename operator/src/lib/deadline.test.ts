import { describe, expect, test } from '@jest/globals';
import { abandonAfter, DeadlineError, withDeadline } from './deadline.ts';
import { ManualClock } from './manual-clock.ts';

const until = (signal: AbortSignal, then: Error): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(then), { once: true }));

describe.each([
  ['a deadline', withDeadline],
  ['a deadline of work that may be left behind', abandonAfter],
])('%s', (_, within) => {
  test('says what was not done in time, whatever the aborted work says', async () => {
    const clock = new ManualClock();
    const work = within({ ms: 50, what: 'feed the birds', clock, signal: undefined }, (signal) => until(signal, new Error('aborted')));
    const refused = expect(work).rejects.toThrow(new DeadlineError('cannot feed the birds: no answer within 50 ms'));
    await clock.advance(50);
    await refused;
  });

  test("the caller's reason goes before the work's, and nothing begins under a caller that was told to stop", async () => {
    const stop = new AbortController();
    const work = within({ ms: 50, what: 'x', clock: new ManualClock(), signal: stop.signal }, (signal) =>
      until(signal, new Error('aborted')),
    );
    stop.abort(new Error('shutting down'));
    await expect(work).rejects.toThrow('shutting down');
    let begun = false;
    const late = within({ ms: 50, what: 'x', clock: new ManualClock(), signal: stop.signal }, async () => {
      begun = true;
    });
    await expect(late).rejects.toThrow('shutting down');
    expect(begun).toBe(false);
  });

  test('in time, the result or the failure is passed on, and nothing is left waiting', async () => {
    const clock = new ManualClock();
    const options = { ms: 50, what: 'x', clock, signal: undefined };
    expect(await within(options, async () => 1)).toBe(1);
    await expect(within(options, () => Promise.reject(new Error('own')))).rejects.toThrow('own');
    expect(clock.sleeping).toBe(0);
  });
});

describe('work that does not heed its signal', () => {
  const deaf = (stop: AbortSignal | undefined) => {
    const ends = Promise.withResolvers<string>();
    const clock = new ManualClock();
    return { ends, clock, deadline: { ms: 50, what: 'x', clock, signal: stop } };
  };

  test('is waited for, so that it never runs beside itself', async () => {
    const { ends, clock, deadline } = deaf(undefined);
    let ended = false;
    const work = withDeadline(deadline, () => ends.promise).finally(() => {
      ended = true;
    });
    await clock.advance(50);
    expect(ended).toBe(false);
    ends.resolve('late');
    expect(await work).toBe('late');
  });

  test('is left behind at once where that does no harm: when its time is over, or its caller stops', async () => {
    const { ends, clock, deadline } = deaf(undefined);
    const over = expect(abandonAfter(deadline, () => ends.promise)).rejects.toThrow('no answer within 50 ms');
    await clock.advance(50);
    await over;
    const stop = new AbortController();
    const stopped = expect(abandonAfter({ ...deaf(stop.signal).deadline }, () => ends.promise)).rejects.toThrow('closing');
    stop.abort(new Error('closing'));
    await stopped;
    ends.reject(new Error('nobody hears of it'));
  });
});
