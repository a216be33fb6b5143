/** How lists and maps of a kind are merged: what a structural schema says with x-kubernetes-list-type and its like. */
export type Shape =
  /** Fields are merged and owned one by one. */
  | { readonly is: 'object'; readonly at: (field: string) => Shape }
  /** Items are found by keys; a key with a default may be left out. */
  | { readonly is: 'listMap'; readonly keys: readonly string[]; readonly defaults: Readonly<Record<string, string>>; readonly items: Shape }
  /** Scalars, each there once. */
  | { readonly is: 'set' }
  /** One value, replaced as a whole. */
  | { readonly is: 'atomic' };

export const atomic: Shape = { is: 'atomic' };

/** The parts of a structural schema that say how to merge. */
export interface MergeSchema {
  readonly type?: string | undefined;
  readonly properties?: Readonly<Record<string, MergeSchema>> | undefined;
  readonly additionalProperties?: MergeSchema | undefined;
  readonly items?: MergeSchema | undefined;
  readonly default?: unknown;
  readonly 'x-kubernetes-list-type'?: string | undefined;
  readonly 'x-kubernetes-list-map-keys'?: readonly string[] | undefined;
  readonly 'x-kubernetes-map-type'?: string | undefined;
}

/** Without a schema (free-form payloads): maps are merged, lists are one value. */
const deduced: Shape = { is: 'object', at: () => deduced };

export function shapeOf(schema: MergeSchema | undefined): Shape {
  if (schema === undefined) return deduced;
  if (schema.type === 'array') {
    if (schema['x-kubernetes-list-type'] === 'set') return { is: 'set' };
    const keys = schema['x-kubernetes-list-map-keys'];
    if (schema['x-kubernetes-list-type'] !== 'map' || keys === undefined) return atomic;
    const defaults = keys.flatMap((key) => {
      const value = schema.items?.properties?.[key]?.default;
      return value === undefined ? [] : [[key, String(value)] as const];
    });
    return { is: 'listMap', keys, defaults: Object.fromEntries(defaults), items: shapeOf(schema.items) };
  }
  if (schema['x-kubernetes-map-type'] === 'atomic') return atomic;
  if (schema.type === 'object') return { is: 'object', at: (field) => shapeOf(schema.properties?.[field] ?? schema.additionalProperties) };
  return atomic;
}

/** Lists of Kubernetes' own kinds that are merged, by the name of the field, with their keys. Those not named here are one value. */
const BUILT_IN_LISTS: ReadonlyMap<string, readonly string[]> = new Map([
  ['containers', ['name']],
  ['initContainers', ['name']],
  ['volumes', ['name']],
  ['env', ['name']],
  ['volumeMounts', ['mountPath']],
  ['imagePullSecrets', ['name']],
  ['conditions', ['type']],
  ['ownerReferences', ['uid']],
]);
const BUILT_IN_ATOMIC = new Set(['nodeSelector', 'selector', 'podSelector', 'namespaceSelector']);

/**
 * For Kubernetes' own kinds, and for the metadata of all. By name, not by path: a value that is no list where a list is
 * expected (a key `env` in the data of a ConfigMap) is one value.
 */
export const builtInShape: Shape = {
  is: 'object',
  at: (field) => {
    if (field === 'finalizers') return { is: 'set' };
    const keys = BUILT_IN_LISTS.get(field);
    if (keys !== undefined) return { is: 'listMap', keys, defaults: {}, items: builtInShape };
    return BUILT_IN_ATOMIC.has(field) ? atomic : builtInShape;
  },
};
