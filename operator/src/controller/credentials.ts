/** Looks whether a Secret has what is needed. Values are not kept, compared or written anywhere. */
import { Reason } from '@dovecote/crds';
import { ForbiddenError } from '../kube/errors.ts';
import { secrets } from '../kube/resource-types.ts';
import type { ResourceStore } from '../kube/store.ts';
import type { Draft } from './conditions.ts';

export interface Wanted {
  readonly secret: string;
  readonly keys: readonly string[];
}

export type Credentials = Pick<Draft, 'status' | 'reason' | 'message'>;

/** Secrets are read by name, never listed or watched: how often depends on whether something is missing. */
export const RECHECK_MS = { found: 300_000, missing: 10_000 } as const;

/** Throws what the store throws, except that a Secret that may not be read is an answer: someone has to grant it. */
export async function checkCredentials(store: ResourceStore, { secret, keys }: Wanted, signal: AbortSignal): Promise<Credentials> {
  let data: Readonly<Record<string, string>>;
  try {
    const found = await store.get(secrets, secret, { signal });
    if (found === undefined) {
      const message = `Secret ${secret} does not exist. Create it with ${list(keys)}; it is found by itself.`;
      return { status: 'False', reason: Reason.SecretMissing, message };
    }
    data = found.data ?? {};
  } catch (thrown) {
    if (!(thrown instanceof ForbiddenError)) throw thrown;
    const message = `Secret ${secret} may not be read: grant the controller "get" on this Secret by name.`;
    return { status: 'Unknown', reason: Reason.Error, message };
  }
  const missing = keys.filter((key) => (data[key] ?? '') === '');
  if (missing.length > 0) {
    return {
      status: 'False',
      reason: Reason.SecretKeyMissing,
      message: `Secret ${secret} has no ${list(missing)}. Add it; it is found by itself.`,
    };
  }
  return { status: 'True', reason: Reason.Found, message: `Secret ${secret} has ${list(keys)}.` };
}

function list(keys: readonly string[]): string {
  return `${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')}`;
}
