/** Secrets of local mode live in this process only: the embedded store is a file, and a credential must not be in one of ours. */
import type { Secret } from '../kube/resource-types.ts';
import { secrets } from '../kube/resource-types.ts';
import type { ResourceStore } from '../kube/store.ts';
import type { Manifest } from './manifests.ts';

/** name → key → value */
export type SecretValues = ReadonlyMap<string, ReadonlyMap<string, string>>;

/**
 * From Secret manifests, and from the environment: ANTHROPIC_API_KEY is key api-key of Secret anthropic, and
 * DOVECOTE_SECRET_<NAME>__<KEY> is any other (lower case, "_" for "-").
 */
export function collectSecrets(manifests: readonly Manifest[], env: Readonly<Record<string, string | undefined>>): SecretValues {
  const values = new Map<string, Map<string, string>>();
  const put = (name: string, key: string, value: string): void => {
    values.set(name, (values.get(name) ?? new Map()).set(key, value));
  };
  for (const { kind, metadata, data, stringData } of manifests) {
    if (kind !== 'Secret') continue;
    for (const [key, value] of Object.entries(data ?? {})) put(metadata.name, key, Buffer.from(value, 'base64').toString());
    for (const [key, value] of Object.entries(stringData ?? {})) put(metadata.name, key, value);
  }
  if (env['ANTHROPIC_API_KEY']) put('anthropic', 'api-key', env['ANTHROPIC_API_KEY']);
  for (const [variable, value] of Object.entries(env)) {
    const [, name, key] = /^DOVECOTE_SECRET_([A-Z0-9_]+?)__([A-Z0-9_]+)$/.exec(variable) ?? [];
    if (name && key && value) put(name.toLowerCase().replaceAll('_', '-'), key.toLowerCase().replaceAll('_', '-'), value);
  }
  return values;
}

/** The store with these Secrets in it, and no way to write one. */
export function withSecrets(store: ResourceStore, values: SecretValues): ResourceStore {
  const secretOf = (name: string): Secret | undefined => {
    const data = values.get(name);
    if (data === undefined) return undefined;
    return {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace: store.namespace, uid: `local-${name}`, resourceVersion: '1', creationTimestamp: '1970-01-01T00:00:00Z' },
      data: Object.fromEntries([...data].map(([key, value]) => [key, Buffer.from(value).toString('base64')])),
    };
  };
  return new Proxy(store, {
    get(target, property) {
      if (property === 'get')
        return async (type: { kind: string }, name: string) =>
          type.kind === secrets.kind ? secretOf(name) : target.get(type as never, name);
      const member = Reflect.get(target, property);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
