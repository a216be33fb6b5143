import type { ProviderError } from '../providers/provider.ts';
import type { RetryState } from './call-model.ts';

const FIRST_MS = 60_000;
const MAX_MS = 3_600_000;
/** After this the messages are given up. */
const PATIENCE_MS = 24 * 3_600_000;

export interface AdministratorWait {
  readonly retry: RetryState;
  /** people know already */
  readonly told: boolean;
}

/** Refusals that say nothing of the message: the same one is answered once the agent is set up right. */
export function awaitsAdministrator({ reason }: ProviderError): boolean {
  return reason === 'Unauthenticated' || reason === 'Forbidden' || reason === 'NoSuchModel' || reason === 'NotConfigured';
}

/**
 * When to try again: a minute, doubling to an hour, or earlier when it is said to be of use then (`retryAfterMs`: a budget whose period
 * ends). undefined: it has been tried for a day, and nobody says when it will end by itself. `now`: ms since 1970.
 */
export function administratorWait(stored: unknown, call: string, now: number, retryAfterMs?: number): AdministratorWait | undefined {
  const before = stored as RetryState | undefined;
  const same = before?.call === call ? before : undefined;
  const firstAt = same?.firstAt ?? now;
  if (now - firstAt > PATIENCE_MS && retryAfterMs === undefined) return undefined;
  const attempts = (same?.attempts ?? 0) + 1;
  const nextAt = now + Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(attempts - 1, 16), retryAfterMs ?? MAX_MS);
  return { told: same?.told === true, retry: { call, attempts, firstAt, nextAt, told: true } };
}
