// One kind: what the API server, zod and `kubectl get` need to know about it, in one value.
import { z } from 'zod';

export const GROUP = 'dovecote.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}` as const;

/** [heading, type, JSON path, priority]. Priority 1 is shown by `-o wide` only. Paths may not list (`[*]` prints the first item only). */
export type Column = readonly [heading: string, type: 'string' | 'integer' | 'boolean' | 'date', path: string, priority?: 0 | 1];

const labels = () => z.record(z.string(), z.string());

const OwnerReference = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string(),
  uid: z.string(),
  controller: z.boolean().optional(),
  blockOwnerDeletion: z.boolean().optional(),
});

/** Metadata as the API server returns it. Fields we have no use for pass through. */
const ObjectMeta = z.looseObject({
  name: z.string(),
  namespace: z.string(),
  uid: z.string(),
  resourceVersion: z.string(),
  generation: z.int(),
  creationTimestamp: z.string(),
  deletionTimestamp: z.string().optional(),
  labels: labels().optional(),
  annotations: labels().optional(),
  finalizers: z.array(z.string()).optional(),
  ownerReferences: z.array(OwnerReference).optional(),
});

/** Metadata of a stored object: what the API server sets is there. */
export interface ObjectMeta {
  name: string;
  namespace: string;
  uid: string;
  resourceVersion: string;
  generation: number;
  creationTimestamp: string;
  deletionTimestamp?: string | undefined;
  labels?: Record<string, string> | undefined;
  annotations?: Record<string, string> | undefined;
  finalizers?: string[] | undefined;
  ownerReferences?: OwnerReference[] | undefined;
}
export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean | undefined;
  blockOwnerDeletion?: boolean | undefined;
}
/** Metadata as someone writes it. */
export type ManifestMeta = Pick<ObjectMeta, 'name' | 'labels' | 'annotations' | 'finalizers' | 'ownerReferences'> &
  Partial<Pick<ObjectMeta, 'namespace' | 'uid' | 'resourceVersion'>>;

/** An object as it is stored: defaults are filled in. */
export interface Resource<K extends string, Spec, Status> {
  apiVersion: typeof API_VERSION;
  kind: K;
  metadata: ObjectMeta;
  spec: Spec;
  status?: Status | undefined;
}
/** An object as someone writes it: what has a default may be left out. */
export interface Manifest<K extends string, SpecInput> {
  apiVersion: typeof API_VERSION;
  kind: K;
  metadata: ManifestMeta;
  spec: SpecInput;
}

export interface Kind<K extends string = string, Spec extends z.ZodObject = z.ZodObject, Status extends z.ZodObject = z.ZodObject> {
  readonly kind: K;
  readonly plural: string;
  readonly shortNames: readonly string[];
  /** First line of `kubectl explain`. */
  readonly description: string;
  readonly columns: readonly Column[];
  /** Fields for --field-selector, at most 8: string, boolean or integer, not in a list. */
  readonly selectable: readonly `.spec.${string}`[];
  /** The longest metadata.name. */
  readonly nameMax: number;
  readonly spec: Spec;
  readonly status: Status;
}
/** The typed form of objects of kind `T`. */
export type ResourceOf<T extends Kind> = Resource<T['kind'], z.infer<T['spec']>, z.infer<T['status']>>;
export type ManifestOf<T extends Kind> = Manifest<T['kind'], z.input<T['spec']>>;

type Options<Spec, Status> = Omit<Kind, 'kind' | 'plural' | 'spec' | 'status' | 'selectable'> & {
  selectable?: Kind['selectable'];
  spec: Spec;
  status: Status;
};

/** Declares a kind. Its file under kinds/ and its line in index.ts are all that a new kind needs. */
export const kind = <K extends string, Spec extends z.ZodObject, Status extends z.ZodObject>(
  kindName: K,
  plural: string,
  options: Options<Spec, Status>,
): Kind<K, Spec, Status> => ({ kind: kindName, plural, selectable: [], ...options });

/** The JSON path of a condition's field, for columns. */
export const condition = (type: string, field: 'status' | 'reason' = 'status'): string =>
  `.status.conditions[?(@.type=="${type}")].${field}`;

/** An object could not be read as its kind. `field` is the first bad one, such as spec.agents[0].engage. */
export class ParseError extends Error {
  readonly kind: string;
  readonly field: string;
  constructor(kindName: string, object: string, field: string, why: string, cause: unknown) {
    super(`cannot read ${kindName}${object === '' ? '' : ` ${object}`}: ${field === '' ? 'object' : field}: ${why}`, { cause });
    this.name = 'ParseError';
    this.kind = kindName;
    this.field = field;
  }
}

const fieldPath = (path: readonly PropertyKey[]): string =>
  path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`))
    .join('')
    .replace(/^\./, '');

const objectName = (value: unknown): string => {
  const metadata = value !== null && typeof value === 'object' && 'metadata' in value ? value.metadata : undefined;
  if (metadata === null || typeof metadata !== 'object' || !('name' in metadata)) return '';
  return 'namespace' in metadata ? `${String(metadata.namespace)}/${String(metadata.name)}` : String(metadata.name);
};

const parsers = new WeakMap<Kind, z.ZodType>();

/**
 * Turns what a list, a watch or a file gave into a typed object; absent defaults are filled in. Throws ParseError naming the first bad field.
 * An object that the API server stored reads without error unless its schema was tightened later: the caller then sets a condition `Invalid`.
 */
export const parse = <T extends Kind>(of: T, value: unknown): ResourceOf<T> => {
  let parser = parsers.get(of);
  if (parser === undefined) {
    parser = z.object({
      apiVersion: z.literal(API_VERSION),
      kind: z.literal(of.kind),
      metadata: ObjectMeta,
      spec: of.spec,
      status: of.status.optional(),
    });
    parsers.set(of, parser);
  }
  const result = parser.safeParse(value);
  if (result.success) return result.data as ResourceOf<T>;
  const [issue] = result.error.issues;
  throw new ParseError(of.kind, objectName(value), fieldPath(issue?.path ?? []), issue?.message ?? 'unreadable', result.error);
};

/** parse() for a spec alone, such as one in a values file. */
export const parseSpec = <T extends Kind>(of: T, value: unknown): z.infer<T['spec']> => {
  const result = of.spec.safeParse(value);
  if (result.success) return result.data as z.infer<T['spec']>;
  const [issue] = result.error.issues;
  throw new ParseError(of.kind, '', fieldPath(['spec', ...(issue?.path ?? [])]), issue?.message ?? 'unreadable', result.error);
};
