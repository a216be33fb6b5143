import { type AgentGroup, API_VERSION } from '@dovecote/crds';
import type { ServiceAccount } from '../../kube/resource-types.ts';
import type { NewMeta, NewObject } from '../../kube/store.ts';
import { agentObjectName, Label, MANAGED_LABELS } from '../labels.ts';

/** Whom an agent's Pods are in the cluster. Nothing is granted to it: it is a name that TokenReview can tell. */
export function buildServiceAccount(agentGroup: AgentGroup): NewObject<ServiceAccount> {
  return { metadata: agentMeta(agentGroup), automountServiceAccountToken: false };
}

/** Metadata of what belongs to an agent and goes with it. */
export function agentMeta({ metadata }: AgentGroup): NewMeta {
  return {
    name: agentObjectName(metadata.name),
    labels: { ...MANAGED_LABELS, 'app.kubernetes.io/name': 'dovecote', [Label.agentGroup]: metadata.name },
    ownerReferences: [
      { apiVersion: API_VERSION, kind: 'AgentGroup', name: metadata.name, uid: metadata.uid, controller: true, blockOwnerDeletion: false },
    ],
  };
}
