import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { headroomOf } from './headroom.ts';

const unused = { tokens: 0, cost: 0 };
const prices = [
  { model: 'small', input: '1', output: '5' },
  { model: 'large', input: '3', output: '15', cacheRead: '0.3', cacheWrite: '3.75' },
];

describe('how many requests may begin before they are rows', () => {
  test.each([
    ['a budget smaller than two requests: none', { tokens: 2_399_999 }, unused, 0, 0],
    ['half of what is left', { tokens: 12_000_000 }, unused, 0, 5],
    ['open ones take of it', { tokens: 12_000_000 }, unused, 7, 1],
    ['used tokens take of it', { tokens: 12_000_000 }, { tokens: 9_700_000, cost: 0 }, 0, 0],
    ['never more than eight', { tokens: 10 ** 15 }, unused, 0, 8],
    ['the dearest model counts: 6.75 a request', { cost: '27', prices }, unused, 0, 2],
    ['and what was paid', { cost: '27', prices }, { tokens: 0, cost: 13_500_001 }, 0, 0],
    ['the scarcer of the two', { tokens: 10 ** 15, cost: '27', prices }, unused, 0, 2],
    ['what has no price costs nothing', { cost: '1' }, unused, 0, 8],
  ] as const)('%s', (_what, budget, used, setAside, wanted) => {
    const given = { period: 'Month' as const, ...budget, ...('prices' in budget && { prices: [...budget.prices] }) };
    expect(headroomOf(given, used, setAside)).toBe(wanted);
  });

  test('however many proxies ask, all that they may begin fits into what is left', () => {
    fc.assert(
      fc.property(fc.nat(10 ** 8), fc.nat(10 ** 8), fc.nat(20), fc.integer({ min: 1, max: 20 }), (limit, used, open, proxies) => {
        let given = 0;
        for (let proxy = 0; proxy < proxies; proxy++)
          given += headroomOf({ period: 'Month', tokens: limit }, { tokens: used, cost: 0 }, open + given);
        if (given > 0) expect(used + (open + given) * 1_200_000).toBeLessThanOrEqual(limit);
      }),
    );
  });
});
