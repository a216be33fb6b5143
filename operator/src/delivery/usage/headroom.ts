/**
 * How far a proxy may run ahead of the ledger. Near the end of a budget each request waits until it is a row; far from it, that
 * wait would buy nothing. Far means: were all that is open, and all that may be, to take as much as a request can, it would hold.
 */
import type { AgentGroup } from '@dovecote/crds';
import type { usage } from '@dovecote/proto';
import { costOf, microUnits } from './cost.ts';
import type { Used } from './ledger.ts';

type Budget = NonNullable<AgentGroup['spec']['budget']>;

/** Of one proxy: what it could lose of a budget, were it killed with all of them on their way. */
const MAX_REQUESTS = 8;
/** The most that one request takes: the longest context there is, and the longest answer. */
const LARGEST_INPUT = 1_000_000;
const LARGEST_OUTPUT = 200_000;

/** `setAside`: requests that are open, and those that other proxies may begin. Answers with a whole number of requests; 0: each waits. Pure. */
export function headroomOf(budget: Budget, { tokens, cost }: Used, setAside: number): number {
  const room: number[] = [];
  if (budget.tokens !== undefined) room.push((budget.tokens - tokens) / (LARGEST_INPUT + LARGEST_OUTPUT));
  const dearest = dearestRequest(budget);
  if (budget.cost !== undefined && dearest > 0) room.push((Number(microUnits(budget.cost)) - cost) / dearest);
  const left = Math.floor(Math.min(...room, Number.MAX_SAFE_INTEGER)) - setAside;
  // Half of it, so that the next proxy that asks finds some too.
  return Math.max(0, Math.min(MAX_REQUESTS, Math.floor(left / 2)));
}

/** In millionths of the currency, by the dearest model of its prices. */
function dearestRequest({ prices = [] }: Budget): number {
  const takes: readonly usage.Tokens[] = (['input', 'cacheRead', 'cacheWrite'] as const).map((kind) => ({
    input: 0,
    cacheRead: 0,
    cacheWrite: 0,
    [kind]: LARGEST_INPUT,
    output: LARGEST_OUTPUT,
  }));
  return Math.max(0, ...prices.flatMap((price) => takes.map((tokens) => costOf(tokens, price.model, [price]))));
}
