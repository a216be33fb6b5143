/**
 * What the rest of the operator knows of a cluster. Two implementations hold to it, by one contract suite: `api-server` (a real
 * API server) and `embedded` (one process, persisted). One namespace: that is the tenancy unit.
 */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** metadata as it is read: what the server fills in is there. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly finalizers?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** metadata as it is written. */
export interface NewMeta {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly OwnerReference[];
}

/** An object as it is written: no server fields, no status. */
export type NewObject<T extends KubeObject> = { readonly metadata: NewMeta } & DeepInput<
  Omit<T, 'apiVersion' | 'kind' | 'metadata' | 'status'>
>;
/** Fields that have a default may be left out. */
export type DeepInput<T> = T extends readonly (infer E)[]
  ? readonly DeepInput<E>[]
  : T extends object
    ? { readonly [K in keyof T]?: DeepInput<T[K]> | undefined }
    : T;

/** One kind as the store needs to know it. Parsing is the one door from the wire into typed code. */
export interface ResourceType<T extends KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly hasStatus: boolean;
  /** Throws a TypeError that names the field. A stored object that fails is kept out of caches and reported, never a crash. */
  parse(raw: unknown): T;
}

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface Selector {
  readonly labels?: Readonly<Record<string, string>>;
  readonly fields?: Readonly<Record<string, string>>;
}

export interface Call {
  readonly signal?: AbortSignal;
}

/**
 * Errors of every method: InvalidError (422, 400), ConflictError (409), ForbiddenError (403, 401), ThrottledError (429, after
 * the client's own retries), GoneError (410, watch and list only), or a plain Error (server or network: worth a backoff).
 */
export interface ResourceStore {
  readonly namespace: string;
  get<T extends KubeObject>(type: ResourceType<T>, name: string, call?: Call): Promise<T | undefined>;
  list<T extends KubeObject>(
    type: ResourceType<T>,
    selector?: Selector,
    call?: Call,
  ): Promise<{ readonly items: readonly T[]; readonly resourceVersion: string }>;
  /** Events after `resourceVersion` until `signal` aborts or the server ends the stream (then it returns). */
  watch<T extends KubeObject>(
    type: ResourceType<T>,
    options: { readonly resourceVersion: string; readonly selector?: Selector; readonly signal: AbortSignal },
  ): AsyncIterable<WatchEvent<T>>;
  /** Throws ConflictError with reason AlreadyExists. */
  create<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>, options: Call & { readonly fieldManager: string }): Promise<T>;
  /** Server-side apply of spec and metadata, forced: creates or updates; what another manager owns and this leaves out stays. */
  apply<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>, options: Call & { readonly fieldManager: string }): Promise<T>;
  /** Server-side apply of the status alone. undefined when the object is gone. */
  applyStatus<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    status: object,
    options: Call & { readonly fieldManager: string },
  ): Promise<T | undefined>;
  /** JSON merge patch of the main resource. With resourceVersion in the patch's metadata: ConflictError when it moved. undefined when gone. */
  patch<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    patch: object,
    options: Call & { readonly fieldManager: string },
  ): Promise<T | undefined>;
  /** Already gone is success. With uid: ConflictError when another object has the name. */
  delete<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    options?: Call & { readonly uid?: string; readonly gracePeriodSeconds?: number },
  ): Promise<void>;
  /** Ends open watches and connections. */
  close(): Promise<void>;
}
