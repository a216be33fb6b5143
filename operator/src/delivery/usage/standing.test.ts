import { type AgentGroup, type AgentGroupSpecInput, AgentGroup as Kind, parseSpec } from '@dovecote/crds';
import { describe, expect, test } from '@jest/globals';
import { costOf, microUnits } from './cost.ts';
import { periodAt } from './period.ts';
import { standingOf } from './standing.ts';

const SATURDAY = Date.UTC(2026, 10, 28, 7, 30);

describe('a period', () => {
  test.each([
    ['Day', '2026-11-28', '2026-11-29'],
    ['Week', '2026-11-23', '2026-11-30'],
    ['Month', '2026-11-01', '2026-12-01'],
  ] as const)('%s begins at midnight UTC and ends where the next begins', (period, from, until) => {
    const { fromMs, untilMs } = periodAt(period, SATURDAY);
    expect([fromMs, untilMs]).toEqual([Date.parse(from), Date.parse(until)]);
    expect(periodAt(period, fromMs)).toEqual({ fromMs, untilMs });
    expect(periodAt(period, untilMs - 1)).toEqual({ fromMs, untilMs });
    expect(periodAt(period, untilMs).fromMs).toBe(untilMs);
  });
});

describe('cost', () => {
  const tokens = { input: 1_000_000, output: 10, cacheRead: 3, cacheWrite: 7 };
  test('is exact in millionths where floating point is not', () => {
    expect(microUnits('0.1') + microUnits('0.2')).toBe(microUnits('0.3'));
    expect(microUnits('999999999.999999')).toBe(999_999_999_999_999n);
    expect(costOf(tokens, 'm', [{ model: 'm', input: '0.000001', output: '0' }])).toBe(1);
  });
  test('takes the longest name that fits, and the price of input for the cache without one of its own', () => {
    const prices = [
      { model: 'claude-', input: '3', output: '15' },
      { model: 'claude-small', input: '1', output: '5', cacheRead: '0', cacheWrite: '2' },
    ];
    expect(costOf(tokens, 'claude-large', prices)).toBe(3_000_000 + 150 + 9 + 21);
    expect(costOf(tokens, 'claude-small-2', prices)).toBe(1_000_000 + 50 + 14);
    expect(costOf(tokens, 'another', prices)).toBe(0);
    expect(costOf(tokens, 'claude-large', undefined)).toBe(0);
  });
});

describe('how an agent stands with its budget', () => {
  const agent = (budget: NonNullable<AgentGroupSpecInput['budget']> | undefined, displayName?: string): AgentGroup =>
    ({
      metadata: { name: 'helper' },
      spec: parseSpec(Kind, { provider: { type: 'demo' }, ...(budget && { budget }), ...(displayName && { displayName }) }),
    }) as AgentGroup;
  const prices = [{ model: 'm', input: '3', output: '15' }];
  test.each([
    [{ tokens: 100 }, { tokens: 79, cost: 0 }, 'BudgetLeft'],
    [{ tokens: 100 }, { tokens: 80, cost: 0 }, 'BudgetLow'],
    [{ tokens: 100 }, { tokens: 99, cost: 0 }, 'BudgetLow'],
    [{ tokens: 100 }, { tokens: 100, cost: 0 }, 'BudgetExhausted'],
    [{ cost: '2.50', prices }, { tokens: 9_999, cost: 1_999_999 }, 'BudgetLeft'],
    [{ cost: '2.50', prices }, { tokens: 9_999, cost: 2_000_000 }, 'BudgetLow'],
    [{ cost: '2.50', prices }, { tokens: 9_999, cost: 2_500_000 }, 'BudgetExhausted'],
    [{ tokens: 1_000, cost: '1', prices }, { tokens: 10, cost: 1_000_000 }, 'BudgetExhausted'],
  ] as const)('%j with %j used: %s', (budget, used, reason) => {
    expect(
      standingOf(agent({ ...budget, ...('prices' in budget && { prices: [...prices] }) } as never), () => used, SATURDAY)?.reason,
    ).toBe(reason);
  });
  test('says what is used up, and until when', () => {
    const exhausted = standingOf(agent({ period: 'Week', tokens: 5_000_000 }, 'Triage'), () => ({ tokens: 5_012_345, cost: 0 }), SATURDAY);
    expect(exhausted?.sentence).toBe(
      'Triage has used up its budget for this week: 5,012,345 of 5,000,000 tokens. It goes on by itself on Monday, 30 November 2026, 00:00 UTC, or when its budget is raised.',
    );
  });
  test('without a budget it stands nowhere', () => {
    expect(standingOf(agent(undefined), () => ({ tokens: 1e9, cost: 0 }), SATURDAY)).toBeUndefined();
  });
});
