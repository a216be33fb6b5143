import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ManualClock } from '../lib/manual-clock.ts';
import { DueKeys } from './due-keys.ts';
import { WorkQueue } from './work-queue.ts';

const random = { fraction: () => 0.5, id: () => 'x' };

describe('a work queue', () => {
  let clock: ManualClock;
  let stop: AbortController;
  let queue: WorkQueue;
  beforeEach(() => {
    clock = new ManualClock();
    stop = new AbortController();
    queue = new WorkQueue({ name: 'test', clock, random, signal: stop.signal, backoff: { baseMs: 1_000, maxMs: 8_000 } });
  });
  afterEach(() => stop.abort());

  test('a key added many times is taken once, in the order of first adding', async () => {
    for (const key of ['a', 'b', 'a', 'a']) queue.add(key);
    expect([await queue.take(), await queue.take(), queue.depth]).toEqual(['a', 'b', 0]);
  });

  test('a key in flight is not given out again, and comes back once when it was added meanwhile', async () => {
    queue.add('a');
    await queue.take();
    queue.add('a');
    queue.add('a');
    expect(queue.depth).toBe(0);
    queue.done('a');
    expect(queue.depth).toBe(1);
    await queue.take();
    queue.done('a');
    expect(queue.depth).toBe(0);
  });

  test('one who waits gets the key as it comes; keys go to the one who waited longest', async () => {
    const first = queue.take();
    const second = queue.take();
    queue.add('a');
    queue.add('b');
    expect(await Promise.all([first, second])).toEqual(['a', 'b']);
    queue.add('a');
    expect(queue.depth).toBe(0);
  });

  test('of two times for a key the earlier wins, whichever came first', async () => {
    queue.addAfter('a', 5_000);
    queue.addAfter('a', 1_000);
    queue.addAfter('a', 9_000);
    await clock.advance(999);
    expect(queue.depth).toBe(0);
    await clock.advance(1);
    expect(queue.depth).toBe(1);
    await queue.take();
    queue.done('a');
    await clock.advance(60_000);
    expect(queue.depth).toBe(0);
  });

  test('backoff doubles per key, is capped, and is forgotten', async () => {
    const waits = [1, 2, 3, 4, 5].map(() => queue.addBackoff('a'));
    expect(waits).toEqual([750, 1_500, 3_000, 6_000, 6_000]);
    expect(queue.addBackoff('b')).toBe(750);
    queue.forget('a');
    expect(queue.addBackoff('a')).toBe(750);
  });

  test('ends with its signal: takers are told, nothing is added any more', async () => {
    const taking = queue.take();
    queue.addAfter('a', 10);
    stop.abort();
    expect(await taking).toBeUndefined();
    queue.add('b');
    await clock.advance(100);
    expect(await queue.take()).toBeUndefined();
    expect(queue.depth).toBe(0);
  });

  test('no key is ever lost or in flight twice, whatever the order of calls', async () => {
    const call = fc.record({ do: fc.constantFrom('add', 'later', 'take', 'done', 'time'), key: fc.constantFrom('a', 'b', 'c') });
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 60 }), async (calls) => {
        const time = new ManualClock();
        const end = new AbortController();
        const q = new WorkQueue({ name: 'p', clock: time, random, signal: end.signal });
        const owed = new Set<string>();
        const inFlight = new Set<string>();
        for (const { do: what, key } of calls) {
          if (what === 'add') {
            q.add(key);
            owed.add(key);
          } else if (what === 'later') {
            q.addAfter(key, 5);
            owed.add(key);
          } else if (what === 'time') await time.advance(3);
          else if (what === 'done' && inFlight.delete(key)) q.done(key);
          else if (what === 'take' && q.depth > 0) {
            const taken = (await q.take()) ?? '';
            expect(inFlight.has(taken)).toBe(false);
            inFlight.add(taken);
            owed.delete(taken);
          }
        }
        for (const key of inFlight) q.done(key);
        await time.advance(10);
        const left = new Set<string>();
        while (q.depth > 0) left.add((await q.take()) ?? '');
        end.abort();
        for (const key of owed) expect(left).toContain(key);
      }),
      { numRuns: 100 },
    );
  });
});

test('due keys come out in the order of their earliest times', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.nat(50)), { maxLength: 60 }), fc.nat(50), (sets, now) => {
      const keys = new DueKeys();
      const earliest = new Map<string, number>();
      for (const [key, due] of sets) {
        keys.set(key, due);
        earliest.set(key, Math.min(due, earliest.get(key) ?? Number.POSITIVE_INFINITY));
      }
      const taken = keys.take(now);
      const times = taken.map((key) => earliest.get(key) ?? -1);
      expect(times).toEqual([...times].sort((a, b) => a - b));
      expect([...taken].sort()).toEqual(
        [...earliest]
          .filter(([, due]) => due <= now)
          .map(([key]) => key)
          .sort(),
      );
      expect(keys.size).toBe(earliest.size - taken.length);
    }),
  );
});
