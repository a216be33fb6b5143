/** Conditions as the API conventions want them. Pure: time comes in, nothing is written. */
import type { Condition } from '@dovecote/crds';
import { jsonEqual } from './json.ts';

export type NewCondition = Omit<Condition, 'lastTransitionTime'>;

export function findCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((c) => c.type === type);
}

/** The conditions with `next` in its place. lastTransitionTime moves only when the status does: it says since when, not when last written. */
export function setCondition(conditions: readonly Condition[] | undefined, next: NewCondition, now: number): readonly Condition[] {
  const before = findCondition(conditions, next.type);
  const lastTransitionTime =
    before?.status === next.status ? before.lastTransitionTime : new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
  const condition: Condition = { ...next, lastTransitionTime };
  if (before === undefined) return [...(conditions ?? []), condition];
  return (conditions ?? []).map((c) => (c.type === next.type ? condition : c));
}

/** Whether writing `next` over `before` would change nothing, so that it is not written. */
export function equalStatus(before: object | undefined, next: object): boolean {
  return jsonEqual(before ?? {}, next);
}

/** The conditions of `after` whose status or reason is not what it was: what is worth an Event. */
export function transitions(before: readonly Condition[] | undefined, after: readonly Condition[] | undefined): readonly Condition[] {
  return (after ?? []).filter((c) => {
    const old = findCondition(before, c.type);
    return old?.status !== c.status || old.reason !== c.reason;
  });
}
