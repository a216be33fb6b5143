import type { Channel } from '@dovecote/crds';
import { describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../lib/manual-clock.ts';
import { TokenBucket } from '../../lib/token-bucket.ts';
import { RateLimiter } from './rate-limit.ts';
import { Slots } from './slots.ts';
import { channel } from './testing/bench-cell.ts';

const forever = new AbortController().signal;

function limiterFor(...channels: Channel[]): { limiter: RateLimiter; clock: ManualClock; byName: Map<string, Channel> } {
  const clock = new ManualClock();
  const byName = new Map(channels.map((one) => [one.metadata.name, one]));
  // As it is when the process has run for a while.
  return { limiter: new RateLimiter({ get: (name) => byName.get(name) }, clock, clock.now() - 60_000), clock, byName };
}
function burst(limiter: RateLimiter, name: string, chat: string): number {
  let taken = 0;
  while (taken < 1_000 && limiter.tryEnter(name, chat)) taken += 1;
  return taken;
}

describe('rate limits', () => {
  test('the first messages of a chat never wait, then it is one a second on Slack', () => {
    const { limiter, clock } = limiterFor(channel('s', { type: 'slack' }));
    expect(burst(limiter, 's', 'C1')).toBe(4);
    clock.jump(999);
    expect(burst(limiter, 's', 'C1')).toBe(0);
    clock.jump(1);
    expect(burst(limiter, 's', 'C1')).toBe(1);
    expect(burst(limiter, 's', 'C2')).toBe(4);
  });

  test('after a restart nothing bursts above what the process before may just have used up, and a quiet chat does not wait', () => {
    const clock = new ManualClock();
    const channels = [channel('s', { type: 'slack' }), channel('t', { type: 'telegram' })];
    const before = new RateLimiter({ get: (name) => channels.find(({ metadata }) => metadata.name === name) }, clock, clock.now() - 60_000);
    expect(burst(before, 's', 'C1')).toBe(4);
    const after = new RateLimiter({ get: (name) => channels.find(({ metadata }) => metadata.name === name) }, clock);
    expect(burst(after, 's', 'C1')).toBe(1);
    expect(burst(after, 's', 'C2')).toBe(0); // the account's own bucket too
    clock.jump(1_000);
    expect(burst(after, 's', 'C2')).toBe(2);
    expect(burst(after, 't', '5')).toBe(2); // nobody has asked for it before, and it has come back as well
    clock.jump(60_000);
    expect(burst(after, 's', 'C1')).toBe(4);
  });

  test('Telegram allows less in a group', () => {
    const { limiter, clock } = limiterFor(channel('t', { type: 'telegram' }));
    expect(burst(limiter, 't', '5')).toBe(3);
    expect(burst(limiter, 't', '-5')).toBe(5);
    clock.jump(3_000);
    expect(burst(limiter, 't', '5')).toBe(3);
    expect(burst(limiter, 't', '-5')).toBe(1);
  });

  test('all chats together keep to what the account may', () => {
    const { limiter } = limiterFor(channel('t', { type: 'telegram' }));
    let taken = 0;
    for (let chat = 0; chat < 100; chat++) if (limiter.tryEnter('t', String(chat))) taken += 1;
    expect(taken).toBe(30);
  });

  test("the Channel's own limit replaces the platform's, and holds from the moment it is changed", () => {
    const { limiter, byName } = limiterFor(channel('s', { type: 'slack', rateLimit: { perSecond: 100 } }));
    expect(burst(limiter, 's', 'C1')).toBe(100);
    byName.set('s', channel('s', { type: 'slack', rateLimit: { perSecond: 1, burst: 2 } }));
    expect(burst(limiter, 's', 'C1')).toBe(2);
  });

  test('the local channel has none', () => {
    const { limiter } = limiterFor(channel('web'));
    expect(burst(limiter, 'web', 'home')).toBe(1_000);
  });

  test('those who wait go one by one, and a chat that waits for itself holds up no other', async () => {
    const { limiter, clock } = limiterFor(channel('s', { type: 'slack' }));
    burst(limiter, 's', 'C1');
    const went: number[] = [];
    const waiting = [1, 2, 3].map((i) => limiter.enter('s', 'C1', forever).then(() => went.push(i)));
    expect(burst(limiter, 's', 'C2')).toBe(4);
    clock.jump(1_000);
    await waiting[0];
    expect(went).toEqual([1]);
    clock.jump(2_000);
    await Promise.all(waiting);
    expect(went).toEqual([1, 2, 3]);
  });

  test('a clock that is set back takes nothing away', () => {
    const bucket = new TokenBucket({ perSecond: 1, burst: 2 }, 10_000);
    expect(bucket.tryTake(5_000)).toBe(true);
    expect(bucket.tryTake(5_000)).toBe(true);
    expect(bucket.tryTake(5_000)).toBe(false);
    expect(bucket.tryTake(6_000)).toBe(true);
  });
});

describe('slots', () => {
  test('each channel has its share, those who wait come in order, and one that waits for its own channel holds up no other', async () => {
    const slots = new Slots({ max: 3, maxPerChannel: 2 });
    await slots.take('a', forever);
    await slots.take('a', forever);
    const order: string[] = [];
    const third = slots.take('a', forever).then(() => order.push('a3'));
    expect(slots.tryTake('b')).toBe(true);
    const second = slots.take('b', forever).then(() => order.push('b2'));
    slots.release('b');
    await second;
    expect(order).toEqual(['b2']);
    slots.release('a');
    await third;
    expect(order).toEqual(['b2', 'a3']);
  });

  test('who gives up waiting leaves no trace', async () => {
    const slots = new Slots({ max: 1, maxPerChannel: 1 });
    await slots.take('a', forever);
    const gone = new AbortController();
    const waiting = slots.take('a', gone.signal);
    gone.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    slots.release('a');
    expect(slots.tryTake('a')).toBe(true);
  });
});
