import { type Secret, secrets } from '../kube/resource-types.ts';
import type { ResourceStore } from '../kube/store.ts';

/** The values of a Secret, decoded, by name; undefined when it does not exist. Read at each use: nothing keeps them. */
export function secretValues(store: Pick<ResourceStore, 'get'>): (name: string) => Promise<Readonly<Record<string, string>> | undefined> {
  return async (name) => {
    const secret: Secret | undefined = await store.get(secrets, name);
    if (secret === undefined) return undefined;
    return Object.fromEntries(
      Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
    );
  };
}
