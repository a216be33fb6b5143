import type { Random } from './random.ts';

export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Wait before attempt `attempt + 1`, after `attempt` (1, 2, ...) failed: doubling, capped, and spread over its upper half. */
export function backoffMs(attempt: number, { baseMs, maxMs }: Backoff, random: Random): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(full / 2 + (full / 2) * random.fraction());
}
