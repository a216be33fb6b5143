import type { Condition } from '@dovecote/crds';
import { findCondition, type NewCondition, setCondition } from '../kube/conditions.ts';

/** A condition as a reconciler states it: since when, and of which generation, is added in one place. */
export type Draft = Omit<NewCondition, 'observedGeneration'>;

interface StatusBase {
  readonly conditions?: readonly Condition[] | undefined;
}

/** `fields` with exactly these conditions, said about `generation`. */
export function withConditions<F extends object>(
  fields: F,
  drafts: readonly Draft[],
  { before, generation, now }: { readonly before: StatusBase | undefined; readonly generation: number; readonly now: number },
): F & { observedGeneration: number; conditions: Condition[] } {
  const conditions = drafts.flatMap((draft) => {
    const known = findCondition(before?.conditions, draft.type);
    return setCondition(known === undefined ? [] : [known], { ...draft, observedGeneration: generation }, now);
  });
  return { ...fields, observedGeneration: generation, conditions };
}
