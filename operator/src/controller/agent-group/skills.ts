/** Whether the ConfigMaps that hold an agent's skills are there. A session without one of them still answers: it only does not know it. */
import { type AgentGroup, Reason } from '@dovecote/crds';
import { ForbiddenError } from '../../kube/errors.ts';
import { configMaps } from '../../kube/resource-types.ts';
import type { ResourceStore } from '../../kube/store.ts';
import type { Draft } from '../conditions.ts';

export type FoundSkills = Pick<Draft, 'status' | 'reason' | 'message'>;

const FILE = 'SKILL.md';

/** undefined: it names none. Throws what the store throws, except that it may not be read. */
export async function findSkills({ spec }: AgentGroup, store: ResourceStore, signal: AbortSignal): Promise<FoundSkills | undefined> {
  const names = (spec.skills ?? []).map(({ configMapRef }) => configMapRef).sort();
  if (names.length === 0) return undefined;
  const lacking: string[] = [];
  for (const name of names) {
    try {
      const found = await store.get(configMaps, name, { signal });
      if (found === undefined) lacking.push(`ConfigMap ${name} does not exist.`);
      else if (found.data?.[FILE] === undefined) lacking.push(`ConfigMap ${name} has no key ${FILE}.`);
    } catch (thrown) {
      if (!(thrown instanceof ForbiddenError)) throw thrown;
      const message = `ConfigMap ${name} may not be read: grant the controller "get" on ConfigMaps.`;
      return { status: 'Unknown', reason: Reason.Error, message };
    }
  }
  if (lacking.length === 0) return { status: 'True', reason: Reason.Found, message: 'The ConfigMaps of its skills are there.' };
  const message = `${lacking.join(' ')} Its sessions go on without; create them, and they are found by themselves.`;
  return { status: 'False', reason: Reason.ReferenceMissing, message: message.slice(0, 4_000) };
}
