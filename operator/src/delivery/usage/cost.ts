/** What tokens cost, in whole millionths of the currency: sums of floating-point prices drift, and a budget is compared with them. */
import type { AgentGroupSpec } from '@dovecote/crds';
import type { usage } from '@dovecote/proto';

type Price = NonNullable<NonNullable<AgentGroupSpec['budget']>['prices']>[number];

const MICRO_DIGITS = 6;
const PER_TOKENS = 1_000_000n;

/** "25.5" → 25500000. `text` has at most six decimals, as the schema of AgentGroup says. */
export function microUnits(text: string): bigint {
  const [whole = '0', fraction = ''] = text.split('.');
  return BigInt(whole + fraction.slice(0, MICRO_DIGITS).padEnd(MICRO_DIGITS, '0'));
}

/** Cost of one request in millionths, rounded half up once. 0 without a price: a model that nobody priced costs nothing. */
export function costOf(tokens: usage.Tokens, model: string, prices: readonly Price[] | undefined): number {
  const price = (prices ?? [])
    .filter((one) => model.startsWith(one.model))
    .reduce<Price | undefined>((best, one) => (best === undefined || one.model.length > best.model.length ? one : best), undefined);
  if (price === undefined) return 0;
  const { input, output, cacheRead = input, cacheWrite = input } = price;
  const sum =
    BigInt(tokens.input) * microUnits(input) +
    BigInt(tokens.output) * microUnits(output) +
    BigInt(tokens.cacheRead) * microUnits(cacheRead) +
    BigInt(tokens.cacheWrite) * microUnits(cacheWrite);
  return Number((sum + PER_TOKENS / 2n) / PER_TOKENS);
}
