/** Destination.status in one place. Pure. */
import { type DestinationStatus, Reason } from '@dovecote/crds';
import { withConditions } from '../conditions.ts';
import { referenceConditions } from '../references.ts';
import type { Observed } from './observe.ts';

export function statusOf({ destination, missing, rival, now }: Observed): DestinationStatus {
  const { agentGroupRef, localName } = destination.spec;
  const conditions = referenceConditions(missing, `${agentGroupRef} may send there as ${localName}.`, {
    reason: Reason.Conflict,
    message:
      rival === undefined
        ? undefined
        : `Destination ${rival} gives ${agentGroupRef} the same name ${localName} and is older. Rename or delete one.`,
  });
  return withConditions({}, conditions, { before: destination.status, generation: destination.metadata.generation, now });
}
