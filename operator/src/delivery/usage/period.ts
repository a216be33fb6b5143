import type { AgentGroupSpec } from '@dovecote/crds';

export type Period = NonNullable<AgentGroupSpec['budget']>['period'];

const DAY_MS = 86_400_000;

/** Days since 1970, UTC: the grain in which usage is added up. */
export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS);
}

/** The period that `now` is in, ms since 1970: from midnight UTC of its first day until, exclusively, that of the next one's. */
export function periodAt(period: Period, now: number): { readonly fromMs: number; readonly untilMs: number } {
  const today = dayOf(now);
  switch (period) {
    case 'Day':
      return { fromMs: today * DAY_MS, untilMs: (today + 1) * DAY_MS };
    case 'Week': {
      const monday = today - ((today + 3) % 7); // day 0 was a Thursday
      return { fromMs: monday * DAY_MS, untilMs: (monday + 7) * DAY_MS };
    }
    case 'Month': {
      const date = new Date(now);
      const month = (ahead: number): number => Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + ahead, 1);
      return { fromMs: month(0), untilMs: month(1) };
    }
  }
}
