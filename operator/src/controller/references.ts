import { ConditionType, Reason } from '@dovecote/crds';
import type { Draft } from './conditions.ts';

/**
 * RefsResolved and Ready of an object that only names others. It heals by itself, because what it names is watched. `flaw`: something
 * else that is wrong with it when its message is not undefined.
 */
export function referenceConditions(
  missing: readonly string[],
  fine: string,
  flaw: { readonly reason: string; readonly message: string | undefined },
): [ready: Draft, resolved: Draft] {
  if (missing.length > 0) {
    const verb = missing.length === 1 ? 'does' : 'do';
    const words = {
      status: 'False',
      reason: Reason.ReferenceMissing,
      message: `${missing.join(', ')} ${verb} not exist. Create ${missing.length === 1 ? 'it' : 'them'}, or correct the name; it goes on by itself.`,
    } as const;
    return [
      { type: ConditionType.Ready, ...words },
      { type: ConditionType.RefsResolved, ...words },
    ];
  }
  const resolved: Draft = { type: ConditionType.RefsResolved, status: 'True', reason: Reason.Found, message: 'All that it names exists.' };
  if (flaw.message !== undefined)
    return [{ type: ConditionType.Ready, status: 'False', reason: flaw.reason, message: flaw.message }, resolved];
  return [{ type: ConditionType.Ready, status: 'True', reason: Reason.Accepted, message: fine }, resolved];
}
