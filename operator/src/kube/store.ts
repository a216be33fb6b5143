/**
 * What the rest of the operator knows of a cluster. Two implementations hold to it, by one contract suite: `api-server` (a real
 * API server) and `embedded` (one process, persisted). One namespace: that is the tenancy unit.
 */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean | undefined;
  readonly blockOwnerDeletion?: boolean | undefined;
}

/** metadata as it is read: what the server fills in is there. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number | undefined;
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string | undefined;
  readonly deletionGracePeriodSeconds?: number | undefined;
  readonly finalizers?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly ownerReferences?: readonly OwnerReference[] | undefined;
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** metadata as it is written. */
export interface NewMeta {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly finalizers?: readonly string[] | undefined;
  readonly ownerReferences?: readonly OwnerReference[] | undefined;
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
  /** Throws an Error that names the field. A stored object that fails is kept out of caches and reported, never a crash. */
  parse(raw: unknown): T;
}

/** A stored object that its type could not parse. */
export interface InvalidObject {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly error: Error;
}

/**
 * With a selector an object that stops matching arrives as DELETED though it still exists, and comes back as ADDED: read it
 * before tearing anything down. INVALID stands for a `change` of an object that could not be parsed.
 */
export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'INVALID'; readonly change: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: InvalidObject }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface ResourceList<T> {
  readonly items: readonly T[];
  /** Those that could not be parsed: present in the cluster, unusable here. */
  readonly invalid: readonly InvalidObject[];
  /** Where a watch goes on from. */
  readonly resourceVersion: string;
}

export interface Selector {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** `metadata.name`, or a field that the kind declares as selectable, such as `spec.awake`: `"true"`. */
  readonly fields?: Readonly<Record<string, string>> | undefined;
}

export interface Call {
  readonly signal?: AbortSignal | undefined;
}

export interface WatchOptions {
  readonly resourceVersion: string;
  readonly selector?: Selector | undefined;
  readonly timeoutMs?: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Errors of every method (`errors.ts`): InvalidError (422, 400), ConflictError (409), ForbiddenError (403, 401), ThrottledError
 * (429, after the client's own retries), GoneError (410, watch and list only), UnreadableError (what came back could not be
 * parsed), the signal's reason, or a plain Error (server or network: worth a backoff).
 */
export interface ResourceStore {
  readonly namespace: string;
  get<T extends KubeObject>(type: ResourceType<T>, name: string, call?: Call): Promise<T | undefined>;
  list<T extends KubeObject>(type: ResourceType<T>, selector?: Selector, call?: Call): Promise<ResourceList<T>>;
  /**
   * Events after `resourceVersion`, until `signal` aborts or the server ends the stream: in both cases it returns, and the last
   * resourceVersion seen is good for going on. `timeoutMs` asks the server to end it after that long.
   */
  watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  /** Throws ConflictError with reason AlreadyExists. */
  create<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>, options: Call & { readonly fieldManager: string }): Promise<T>;
  /**
   * Server-side apply of spec and metadata, forced: creates or updates; what another manager owns and this leaves out stays.
   * What this manager created or patched is not removed by an apply without it. Leave an empty map out: in the place of fields
   * that were applied before, a real server makes a null of `{}` and refuses it.
   */
  apply<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>, options: Call & { readonly fieldManager: string }): Promise<T>;
  /** Server-side apply of the status alone. undefined when the object is gone. */
  applyStatus<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    status: object,
    options: Call & { readonly fieldManager: string },
  ): Promise<T | undefined>;
  /** JSON merge patch of the main resource (null removes a field; status is ignored). With resourceVersion in the patch's metadata: ConflictError when it moved. undefined when gone. */
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
    options?: Call & { readonly uid?: string | undefined; readonly gracePeriodSeconds?: number | undefined },
  ): Promise<void>;
  /** Ends open watches and connections. */
  close(): Promise<void>;
}
