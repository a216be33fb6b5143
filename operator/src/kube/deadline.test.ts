import { describe, expect, test } from '@jest/globals';
import { withDeadline } from './deadline.ts';
import { ManualClock } from './manual-clock.ts';

const until = (signal: AbortSignal, then: Error): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(then), { once: true }));

describe('a deadline', () => {
  test('says what was not done in time, whatever the aborted work says', async () => {
    const clock = new ManualClock();
    const work = withDeadline({ ms: 50, what: 'feed the birds', clock, signal: undefined }, (signal) =>
      until(signal, new Error('aborted')),
    );
    const refused = expect(work).rejects.toThrow('cannot feed the birds: no answer within 50 ms');
    await clock.advance(50);
    await refused;
  });

  test("the caller's reason goes before the work's", async () => {
    const stop = new AbortController();
    const work = withDeadline({ ms: 50, what: 'x', clock: new ManualClock(), signal: stop.signal }, (signal) =>
      until(signal, new Error('aborted')),
    );
    stop.abort(new Error('shutting down'));
    await expect(work).rejects.toThrow('shutting down');
    const late = withDeadline({ ms: 50, what: 'x', clock: new ManualClock(), signal: stop.signal }, async () => 1);
    await expect(late).rejects.toThrow('shutting down');
  });

  test('in time, the result or the failure is passed on, and nothing is left waiting', async () => {
    const clock = new ManualClock();
    const options = { ms: 50, what: 'x', clock, signal: undefined };
    expect(await withDeadline(options, async () => 1)).toBe(1);
    await expect(withDeadline(options, () => Promise.reject(new Error('own')))).rejects.toThrow('own');
    expect(clock.sleeping).toBe(0);
  });
});
