/** The names that our objects carry in the cluster: what selects them, and who owns which of their fields. */

/** Field manager of everything that the controller writes. */
export const FIELD_MANAGER = 'dovecote-controller';

export const Label = {
  managedBy: 'app.kubernetes.io/managed-by',
  component: 'app.kubernetes.io/component',
  session: 'dovecote.dev/session',
  agentGroup: 'dovecote.dev/agent-group',
  shard: 'dovecote.dev/shard',
} as const;

export const Annotation = {
  /** On a session's Pod: hash of what the Pod was built from, to tell a Pod of an older image or spec. */
  templateHash: 'dovecote.dev/template-hash',
  /** On a session's Pod: how many Pods of this wakefulness ended before it. A restarted controller goes on counting from it. */
  restarts: 'dovecote.dev/restarts',
  /** On a Session, by delivery: JSON {reason, message} about its cell; becomes the condition StorageOk. */
  storage: 'dovecote.dev/storage',
} as const;

export const MANAGED_BY = 'dovecote';

/** What every object carries that the controller makes: the cache of Pods is filtered by it. */
export const MANAGED_LABELS = { [Label.managedBy]: MANAGED_BY } as const;

/** Values of Label.component. */
export const Component = { session: 'session', delivery: 'delivery', proxy: 'proxy' } as const;

/** The ServiceAccount, and the NetworkPolicy, of an AgentGroup. */
export function agentObjectName(agentGroup: string): string {
  return `dovecote-agent-${agentGroup}`;
}
