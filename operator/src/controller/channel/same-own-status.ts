import type { Condition } from '@dovecote/crds';
import { jsonEqual } from '../../kube/json.ts';

interface Status {
  readonly observedGeneration?: number | undefined;
  readonly conditions?: readonly Condition[] | undefined;
}

/** The types of conditions that the controller itself writes on a kind whose status it shares. */
const OWN: ReadonlySet<string> = new Set(['Ready', 'CredentialsFound']);

/** Whether all that we would write is there already, and nothing of ours beyond it; what another manager wrote beside it does not count. */
export function sameOwnStatus(stored: Status | undefined, ours: Status): boolean {
  if (stored === undefined || stored.observedGeneration !== ours.observedGeneration) return false;
  const ownStored = stored.conditions?.filter(({ type }) => OWN.has(type)) ?? [];
  const wanted = ours.conditions ?? [];
  return ownStored.length === wanted.length && wanted.every((condition) => ownStored.some((other) => jsonEqual(other, condition)));
}
