import type { ProviderError } from '../providers/provider.ts';

const FIRST_MS = 60_000;
const MAX_MS = 3_600_000;
/** After this the messages are given up. */
const PATIENCE_MS = 24 * 3_600_000;

export const ADMINISTRATOR_STATE = 'administrator_waits';

/** A row in `state`: what waits, by the name of its call. Several may, each due at another time; all end with the first answer. */
export type AdministratorWaits = Readonly<Record<string, { readonly attempts: number; readonly firstAt: number }>>;

export interface AdministratorWait {
  /** ms since 1970 */
  readonly nextAt: number;
  /** people know already */
  readonly told: boolean;
  /** with this one */
  readonly waits: AdministratorWaits;
}

/** Refusals that say nothing of the message: the same one is answered once the agent is set up right. */
export function awaitsAdministrator({ reason }: ProviderError): boolean {
  return reason === 'Unauthenticated' || reason === 'Forbidden' || reason === 'NoSuchModel' || reason === 'NotConfigured';
}

/**
 * When to try again: a minute, doubling to an hour, or earlier when it is said to be of use then (`retryAfterMs`: a budget whose period
 * ends). undefined: it has been tried for a day, and nobody says when it will end by itself. `now`: ms since 1970.
 */
export function administratorWait(
  waits: AdministratorWaits,
  call: string,
  now: number,
  retryAfterMs?: number,
): AdministratorWait | undefined {
  const { attempts: before = 0, firstAt = now } = waits[call] ?? {};
  if (now - firstAt > PATIENCE_MS && retryAfterMs === undefined) return undefined;
  const nextAt = now + Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(before, 16), retryAfterMs ?? MAX_MS);
  return { nextAt, told: before > 0, waits: { ...waits, [call]: { attempts: before + 1, firstAt } } };
}

/** What still waits when this one is given up. undefined: nothing. */
export function withoutWait(waits: AdministratorWaits, call: string): AdministratorWaits | undefined {
  const others = Object.entries(waits).filter(([other]) => other !== call);
  return others.length === 0 ? undefined : Object.fromEntries(others);
}
