import { type AgentGroup, Reason } from '@dovecote/crds';
import { microUnits } from './cost.ts';
import type { Used } from './ledger.ts';
import { type Period, periodAt } from './period.ts';

/** How an agent stands with its budget. */
export interface Standing {
  readonly reason: typeof Reason.BudgetLeft | typeof Reason.BudgetLow | typeof Reason.BudgetExhausted;
  /** for whoever talks to the agent: with the figures of this moment */
  readonly sentence: string;
  /** for whoever runs it: the same for as long as the period and the reason are */
  readonly message: string;
  /** the period, ms since 1970 */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Of each limit this part may be used before people are told. */
const LOW_PERCENT = 80n;

const SPAN: Readonly<Record<Period, string>> = { Day: 'today', Week: 'this week', Month: 'this month' };

/** undefined: it has no budget. Pure. */
export function standingOf(
  agentGroup: Pick<AgentGroup, 'metadata' | 'spec'>,
  used: (fromMs: number) => Used,
  now: number,
): Standing | undefined {
  const { budget } = agentGroup.spec;
  if (budget === undefined) return undefined;
  const period = periodAt(budget.period, now);
  const { tokens, cost } = used(period.fromMs);
  const { tokens: mostTokens, cost: mostCost } = budget;
  const limits = [
    ...(mostTokens === undefined ? [] : [{ used: BigInt(tokens), limit: BigInt(mostTokens), words: () => tokenWords(tokens, mostTokens) }]),
    ...(mostCost === undefined
      ? []
      : [{ used: BigInt(cost), limit: microUnits(mostCost), words: () => `${(cost / 1_000_000).toFixed(2)} of ${mostCost} in cost` }]),
  ];
  const exhausted = limits.find((one) => one.used >= one.limit);
  const low = limits.find((one) => one.used * 100n >= one.limit * LOW_PERCENT);
  // Before each request, and most are far from the limit: words and dates cost more than all of the rest.
  if (low === undefined) return { reason: Reason.BudgetLeft, sentence: '', message: 'More than a fifth of its budget is left.', ...period };
  const name = agentGroup.spec.displayName ?? agentGroup.metadata.name;
  const span = SPAN[budget.period];
  const end = dateOf(period.untilMs);
  if (exhausted !== undefined) {
    return {
      reason: Reason.BudgetExhausted,
      sentence: `${name} has used up its budget for ${span}: ${exhausted.words()}. It goes on by itself on ${end}, or when its budget is raised.`,
      message: `Its budget for the period that ends on ${end} is used up: messages wait until then, or until it is raised.`,
      ...period,
    };
  }
  return {
    reason: Reason.BudgetLow,
    sentence: `${name} has used ${(low.used * 100n) / low.limit} % of its budget for ${span}: ${low.words()}. When it is used up, messages wait until ${end}.`,
    message: `Less than a fifth of its budget for the period that ends on ${end} is left.`,
    ...period,
  };
}

const tokenWords = (used: number, limit: number): string => `${used.toLocaleString('en-US')} of ${limit.toLocaleString('en-US')} tokens`;

/** Such as "Tuesday, 1 December 2026, 00:00 UTC". */
function dateOf(ms: number): string {
  const date = new Date(ms).toLocaleDateString('en-GB', {
    weekday: 'long',
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    timeZone: 'UTC',
  });
  return `${date.replace(/^(\w+) /, '$1, ')}, 00:00 UTC`;
}
