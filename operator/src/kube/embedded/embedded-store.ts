/**
 * The ResourceStore of `dovecote local` and of tests: a cluster's objects in one file of one process, with the API server's
 * semantics as far as this operator relies on them (the contract suite says how far). Reconcilers cannot tell the difference.
 *
 * Not here: other namespaces, roles, quotas, scheduling, other versions of a kind, foreground deletion.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { ConflictError } from '../errors.ts';
import { type JsonObject, jsonEqual, objectAt, toJson } from '../json.ts';
import { readObject, readObjects } from '../read-object.ts';
import type {
  Call,
  KubeObject,
  NewObject,
  ResourceList,
  ResourceStore,
  ResourceType,
  Selector,
  WatchEvent,
  WatchOptions,
} from '../store.ts';
import { type KindRules, kindRules } from './admission.ts';
import { Database, type ObjectKey, type Stored } from './database.ts';
import { applyFields, ownAfter, type Writer } from './field-managers.ts';
import { GarbageCollector } from './garbage-collector.ts';
import { mergePatch } from './merge-patch.ts';
import { checkName, freshMetadata, metadataOf, mustAddNoFinalizer, mustAgree, ownerUids, withMetadata } from './metadata.ts';
import { selects } from './selector.ts';
import { WatchHistory } from './watch-history.ts';

export interface EmbeddedOptions {
  /** A file, created when missing. One process may have it open. `:memory:` in tests. */
  readonly path: string;
  readonly namespace: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Changes kept for watches that go on from an older version; older ones get a 410. */
  readonly historyLength?: number;
  readonly bookmarkMs?: number;
}

type Writing = Call & { readonly fieldManager: string };

/** Pods without a grace period of their own get this many seconds, as in a cluster. */
const DEFAULT_GRACE_SECONDS = 30;
const EVENTS = 'events.events.k8s.io';
const LEASES = 'leases.coordination.k8s.io';
const EVENT_TTL_MS = 3_600_000;

export class EmbeddedStore implements ResourceStore {
  readonly namespace: string;
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #history: WatchHistory;
  readonly #garbage: GarbageCollector;
  readonly #closed = new AbortController();
  #eventsExpiredAt = Number.NEGATIVE_INFINITY;

  /** Throws when another process has the file open, or a newer version of dovecote wrote it. */
  constructor(options: EmbeddedOptions) {
    this.namespace = options.namespace;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#db = new Database(options.path);
    // Whoever held a Lease is gone, or the file could not have been opened: its end need not be waited for.
    for (const { metadata } of this.#db.list(LEASES)) this.#db.remove({ resource: LEASES, name: String((metadata as JsonObject)['name']) });
    this.#history = new WatchHistory(this.#db, {
      clock: options.clock,
      length: options.historyLength ?? 5_000,
      bookmarkMs: options.bookmarkMs ?? 60_000,
    });
    this.#garbage = new GarbageCollector(this.#db, (key) => this.#collect(key), options.log);
    this.#garbage.sweep();
  }

  async get<T extends KubeObject>(type: ResourceType<T>, name: string, call?: Call): Promise<T | undefined> {
    this.#check(call);
    const stored = this.#db.read({ resource: kindRules(type).resource, name });
    return stored === undefined ? undefined : readObject(type, stored.body);
  }

  async list<T extends KubeObject>(type: ResourceType<T>, selector?: Selector, call?: Call): Promise<ResourceList<T>> {
    this.#check(call);
    const rules = kindRules(type);
    const selected = selects(selector, rules.selectable);
    const bodies = [...this.#db.list(rules.resource)].filter(selected);
    return { ...readObjects(type, bodies), resourceVersion: String(this.#db.versions().latest) };
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>, void> {
    this.#check();
    yield* this.#history.watch(type, kindRules(type), { ...options, closed: this.#closed.signal });
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>, options: Writing): Promise<T> {
    this.#check(options);
    const rules = kindRules(type);
    const key = this.#keyOf(rules, object.metadata.name);
    const body = this.#db.transaction(() => {
      return this.#insert(rules, key, this.#bodyOf(rules, object), { manager: options.fieldManager, operation: 'Update', subresource: '' });
    });
    this.#announce();
    return readObject(type, body);
  }

  async apply<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>, options: Writing): Promise<T> {
    this.#check(options);
    const rules = kindRules(type);
    const key = this.#keyOf(rules, object.metadata.name);
    const { status: _, ...applied } = this.#bodyOf(rules, object);
    const writer: Writer = { manager: options.fieldManager, operation: 'Apply', subresource: '' };
    const body = this.#db.transaction(() => {
      const live = this.#db.read(key);
      if (live === undefined) return this.#insert(rules, key, applied, writer);
      const { body: merged, intent } = applyFields(live, applied, writer, rules.shape);
      return this.#update(rules, key, live, merged, writer, intent);
    });
    this.#announce();
    return readObject(type, body);
  }

  async applyStatus<T extends KubeObject>(type: ResourceType<T>, name: string, status: object, options: Writing): Promise<T | undefined> {
    this.#check(options);
    const rules = kindRules(type);
    const key = this.#keyOf(rules, name);
    const writer: Writer = { manager: options.fieldManager, operation: 'Apply', subresource: 'status' };
    const body = this.#db.transaction(() => {
      const live = this.#db.read(key);
      if (live === undefined) return undefined;
      const wanted = toJson(status);
      const applied = Object.keys(wanted).length === 0 ? {} : { status: wanted };
      const { body: merged, intent } = applyFields(live, applied, writer, rules.shape);
      const admitted = rules.admitStatus(merged, live.body);
      return this.#store(rules, key, live, admitted, writer, intent);
    });
    this.#announce();
    return body === undefined ? undefined : readObject(type, body);
  }

  async patch<T extends KubeObject>(type: ResourceType<T>, name: string, patch: object, options: Writing): Promise<T | undefined> {
    this.#check(options);
    const rules = kindRules(type);
    const key = this.#keyOf(rules, name);
    const { status: _, ...wanted } = toJson(patch);
    const body = this.#db.transaction(() => {
      const live = this.#db.read(key);
      if (live === undefined) return undefined;
      mustAgree(rules, key, live.body, objectAt(wanted, 'metadata'));
      return this.#update(rules, key, live, mergePatch(live.body, wanted), {
        manager: options.fieldManager,
        operation: 'Update',
        subresource: '',
      });
    });
    this.#announce();
    return body === undefined ? undefined : readObject(type, body);
  }

  async delete<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    options: Call & { readonly uid?: string | undefined; readonly gracePeriodSeconds?: number | undefined } = {},
  ): Promise<void> {
    this.#check(options);
    this.#delete({ resource: kindRules(type).resource, name }, options);
    this.#announce();
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(new Error('the store is closed'));
    await this.#garbage.close();
    this.#db.close();
  }

  #check(call?: Call): void {
    this.#closed.signal.throwIfAborted();
    call?.signal?.throwIfAborted();
  }

  /** Outside of the transaction: whoever is woken must see what was committed. */
  #announce(): void {
    this.#history.announce();
    this.#garbage.wake();
  }

  #collect(key: ObjectKey): void {
    this.#delete(key, {});
    this.#announce();
  }

  #keyOf(rules: KindRules, name: string): ObjectKey {
    return { resource: rules.resource, name };
  }

  #bodyOf<T extends KubeObject>(rules: KindRules, object: NewObject<T>): JsonObject {
    const json = toJson(object);
    return withMetadata(
      { ...json, apiVersion: rules.apiVersion, kind: rules.kind },
      { ...objectAt(json, 'metadata'), namespace: this.namespace },
    );
  }

  #insert(rules: KindRules, key: ObjectKey, body: JsonObject, writer: Writer): JsonObject {
    checkName(rules, key.name);
    const { status: _, ...wanted } = body;
    const admitted = rules.admit(wanted, undefined, writer.operation);
    // After admission, as on the server: of a bad object under a taken name one hears that it is bad.
    if (this.#db.read(key) !== undefined) throw new ConflictError('AlreadyExists', `${key.resource} "${key.name}" already exists`);
    const metadata = freshMetadata(objectAt(admitted, 'metadata'), this.#clock, this.#random, rules.countsGenerations);
    const created = withMetadata(admitted, metadata);
    const intent = writer.operation === 'Apply' ? applyFields({ body: {}, managers: {} }, body, writer, rules.shape).intent : undefined;
    const managers = ownAfter(undefined, created, writer, rules.shape, intent);
    if (key.resource === EVENTS) this.#expireEvents();
    return this.#write(key, undefined, created, managers, 'ADDED');
  }

  /** As an API server's time to live for them: else they would be most of the file after a month. */
  #expireEvents(): void {
    const now = this.#clock.now();
    if (now - this.#eventsExpiredAt < EVENT_TTL_MS / 6) return;
    this.#eventsExpiredAt = now;
    for (const body of this.#db.list(EVENTS)) {
      const { name, creationTimestamp } = objectAt(body, 'metadata');
      if (Date.parse(String(creationTimestamp)) < now - EVENT_TTL_MS) this.#delete({ resource: EVENTS, name: String(name) }, {});
    }
  }

  /** A write to the object itself: metadata that belongs to the server stays, and so does the status. */
  #update(rules: KindRules, key: ObjectKey, live: Stored, wanted: JsonObject, writer: Writer, intent?: readonly string[]): JsonObject {
    const merged = withMetadata({ ...wanted, apiVersion: rules.apiVersion, kind: rules.kind }, metadataOf(live.body, wanted));
    if (objectAt(live.body, 'metadata')['deletionTimestamp'] !== undefined) mustAddNoFinalizer(rules, key, live.body, merged);
    const admitted = rules.admit(merged, live.body, writer.operation);
    return this.#store(rules, key, live, admitted, writer, intent);
  }

  #store(rules: KindRules, key: ObjectKey, live: Stored, admitted: JsonObject, writer: Writer, intent?: readonly string[]): JsonObject {
    const managers = ownAfter(live, admitted, writer, rules.shape, intent);
    if (jsonEqual(admitted, live.body) && jsonEqual(managers, live.managers)) return live.body;
    const metadata = objectAt(admitted, 'metadata');
    const counted = rules.countsGenerations && !jsonEqual(wantedOf(admitted), wantedOf(live.body));
    const next = counted ? withMetadata(admitted, { ...metadata, generation: Number(metadata['generation'] ?? 0) + 1 }) : admitted;
    const finalizers = metadata['finalizers'];
    const released = Array.isArray(finalizers) ? finalizers.length === 0 : true;
    const graceLeft = Number(metadata['deletionGracePeriodSeconds'] ?? 0) > 0;
    if (metadata['deletionTimestamp'] !== undefined && released && !graceLeft) return this.#remove(key, live, next);
    return this.#write(key, live, next, managers, 'MODIFIED');
  }

  #delete(key: ObjectKey, options: { readonly uid?: string | undefined; readonly gracePeriodSeconds?: number | undefined }): void {
    this.#db.transaction(() => {
      const live = this.#db.read(key);
      if (live === undefined) return;
      const metadata = objectAt(live.body, 'metadata');
      const uid = String(metadata['uid']);
      if (options.uid !== undefined && options.uid !== uid) {
        throw new ConflictError(
          'Conflict',
          `Operation cannot be fulfilled on ${key.resource} "${key.name}": Precondition failed: UID in precondition: ${options.uid}, UID in object meta: ${uid}`,
        );
      }
      const graceSeconds = key.resource === 'pods' ? podGraceSeconds(live.body, options.gracePeriodSeconds) : 0;
      const finalizers = metadata['finalizers'];
      const held = Array.isArray(finalizers) && finalizers.length > 0;
      if (!held && graceSeconds === 0) {
        this.#remove(key, live, live.body);
        return;
      }
      const before = metadata['deletionGracePeriodSeconds'];
      // Asking again may shorten the time, never lengthen it.
      if (metadata['deletionTimestamp'] !== undefined && (before === undefined || Number(before) <= graceSeconds)) return;
      const deletionTimestamp = timestamp(this.#clock.now() + graceSeconds * 1_000);
      const generation = Number(metadata['generation'] ?? 0) + 1;
      const next = withMetadata(live.body, {
        ...metadata,
        deletionTimestamp,
        deletionGracePeriodSeconds: graceSeconds,
        ...(metadata['generation'] === undefined ? {} : { generation }),
      });
      this.#write(key, live, next, live.managers, 'MODIFIED');
    });
  }

  #write(key: ObjectKey, live: Stored | undefined, body: JsonObject, managers: Stored['managers'], type: 'ADDED' | 'MODIFIED'): JsonObject {
    const version = this.#db.nextVersion();
    const next = withMetadata(body, { ...objectAt(body, 'metadata'), resourceVersion: String(version) });
    const owners = ownerUids(next);
    this.#db.write(key, { body: next, managers }, { self: String(objectAt(next, 'metadata')['uid']), owners });
    this.#db.record(key.resource, { version, type, body: next, previous: live?.body });
    // An owner that is already gone takes its new child with it, as in a cluster.
    for (const uid of owners) if (!this.#db.existsUid(uid)) this.#garbage.orphaned(uid);
    return next;
  }

  #remove(key: ObjectKey, live: Stored, last: JsonObject): JsonObject {
    const version = this.#db.nextVersion();
    const body = withMetadata(last, { ...objectAt(last, 'metadata'), resourceVersion: String(version) });
    this.#db.remove(key);
    this.#db.record(key.resource, { version, type: 'DELETED', body, previous: live.body });
    this.#garbage.orphaned(String(objectAt(live.body, 'metadata')['uid']));
    return body;
  }
}

/** What generation counts: everything but metadata and status. */
function wantedOf(body: JsonObject): JsonObject {
  const { metadata: _metadata, status: _status, ...wanted } = body;
  return wanted;
}

/** A Pod that still runs is told to end and removed by the kubelet, with a period of 0, once it has. */
function podGraceSeconds(body: JsonObject, asked: number | undefined): number {
  const phase = objectAt(body, 'status')['phase'];
  if (phase === 'Succeeded' || phase === 'Failed') return 0;
  return asked ?? Number(objectAt(body, 'spec')['terminationGracePeriodSeconds'] ?? DEFAULT_GRACE_SECONDS);
}

function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
