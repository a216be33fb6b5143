/** The ResourceStore over a real API server. */
import type { KubeConfig } from '@kubernetes/client-node';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { CredentialSource } from './credentials.ts';
import { GoneError, InvalidError, KubeError } from './errors.ts';
import { fromKube } from './from-kube.ts';
import { isJsonObject, type JsonObject, type MutableJsonObject, objectAt, toJson } from './json.ts';
import { invalidObject, readObject, readObjects, tryRead } from './read-object.ts';
import { apiVersionOf } from './resource-types.ts';
import type {
  Call,
  InvalidObject,
  KubeObject,
  NewObject,
  ResourceList,
  ResourceStore,
  ResourceType,
  Selector,
  WatchEvent,
  WatchOptions,
} from './store.ts';
import { Transport, type TransportOptions } from './transport.ts';

export interface ApiServerOptions {
  readonly kubeConfig: KubeConfig;
  readonly namespace: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly transport?: Partial<TransportOptions>;
  /** Objects per page of a list. */
  readonly pageSize?: number;
}

type Writing = Call & { readonly fieldManager: string };

const APPLY = 'application/apply-patch+yaml'; // JSON is YAML
const MERGE_PATCH = 'application/merge-patch+json';
/** How long the server may take to end a watch after the time it was asked for. */
const WATCH_SLACK_MS = 30_000;

export class ApiServerStore implements ResourceStore {
  readonly namespace: string;
  readonly #transport: Transport;
  readonly #pageSize: number;

  /** Throws when the kubeconfig names no cluster. Opens no connection yet. */
  constructor(options: ApiServerOptions) {
    this.namespace = options.namespace;
    this.#pageSize = options.pageSize ?? 500;
    this.#transport = new Transport({
      source: new CredentialSource(options.kubeConfig, options.clock),
      clock: options.clock,
      random: options.random,
      ...(options.transport === undefined ? {} : { options: options.transport }),
    });
  }

  async get<T extends KubeObject>(type: ResourceType<T>, name: string, call: Call = {}): Promise<T | undefined> {
    return this.#orGone(type, { action: `read ${type.kind} ${name}`, method: 'GET', path: this.#path(type, name), signal: call.signal });
  }

  async list<T extends KubeObject>(type: ResourceType<T>, selector?: Selector, call: Call = {}): Promise<ResourceList<T>> {
    const signal = call.signal;
    try {
      return await this.#listPages(type, selector, signal, String(this.#pageSize));
    } catch (e) {
      // The pages' version was compacted while we read them: in one piece, then.
      if (!(e instanceof GoneError)) throw e;
      return this.#listPages(type, selector, signal, undefined);
    }
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>, void> {
    const { timeoutMs, signal } = options;
    const action = `watch ${type.plural}`;
    const events = this.#transport.stream({
      action,
      path: this.#path(type),
      query: {
        ...queryOf(options.selector),
        watch: 'true',
        allowWatchBookmarks: 'true', // a quiet, filtered watch would else go on from a version that is long forgotten
        resourceVersion: options.resourceVersion,
        timeoutSeconds: timeoutMs === undefined ? undefined : String(Math.max(1, Math.ceil(timeoutMs / 1_000))),
      },
      signal,
      totalMs: timeoutMs === undefined ? undefined : timeoutMs + WATCH_SLACK_MS,
    });
    for await (const { type: change, object } of events) {
      if (change === 'ERROR') throw fromKube(action, { code: statusCode(object), body: object });
      if (change === 'BOOKMARK') {
        yield { type: 'BOOKMARK', resourceVersion: String(objectAt(object, 'metadata')['resourceVersion']) };
        continue;
      }
      if (change !== 'ADDED' && change !== 'MODIFIED' && change !== 'DELETED')
        throw new Error(`cannot ${action}: an event has the unknown type ${String(change)}`);
      const body = isJsonObject(object) ? slim(object) : object;
      const read = tryRead(type, body);
      yield read.ok ? { type: change, object: read.object } : { type: 'INVALID', change, object: invalidObject(body, read.error) };
    }
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>, options: Writing): Promise<T> {
    return readObject(type, slim(await this.#post(type, object, options)));
  }

  async apply<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>, options: Writing): Promise<T> {
    const wanted: Parameters<Transport['request']>[0] = {
      action: `apply ${type.kind} ${object.metadata.name}`,
      method: 'PATCH',
      path: this.#path(type, object.metadata.name),
      query: { ...writing(options), force: 'true' },
      body: this.#bodyOf(type, object),
      contentType: APPLY,
      signal: options.signal,
    };
    try {
      return readObject(type, slim(await this.#transport.request(wanted)));
    } catch (e) {
      // So the server also answers to what does not fit the schema, which no backoff mends. Asked to create it, it says what is wrong.
      if (e instanceof KubeError && e.code === 500) await this.#mustFit(type, object, options, e.said);
      throw e;
    }
  }

  async applyStatus<T extends KubeObject>(type: ResourceType<T>, name: string, status: object, options: Writing): Promise<T | undefined> {
    return this.#orGone(type, {
      action: `apply the status of ${type.kind} ${name}`,
      method: 'PATCH',
      path: `${this.#path(type, name)}/status`,
      query: { ...writing(options), force: 'true' },
      body: {
        apiVersion: apiVersionOf(type),
        kind: type.kind,
        metadata: { name, namespace: this.namespace },
        // An empty map in the place of fields that were applied before becomes a null there, which is then refused.
        ...(Object.keys(toJson(status)).length === 0 ? {} : { status }),
      },
      contentType: APPLY,
      signal: options.signal,
    });
  }

  async patch<T extends KubeObject>(type: ResourceType<T>, name: string, patch: object, options: Writing): Promise<T | undefined> {
    return this.#orGone(type, {
      action: `patch ${type.kind} ${name}`,
      method: 'PATCH',
      path: this.#path(type, name),
      query: writing(options),
      body: patch,
      contentType: MERGE_PATCH,
      signal: options.signal,
    });
  }

  async delete<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    options: Call & { readonly uid?: string | undefined; readonly gracePeriodSeconds?: number | undefined } = {},
  ): Promise<void> {
    const { uid, gracePeriodSeconds, signal } = options;
    await this.#unlessGone({
      action: `delete ${type.kind} ${name}`,
      method: 'DELETE',
      path: this.#path(type, name),
      body: {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy: 'Background',
        ...(uid === undefined ? {} : { preconditions: { uid } }),
        ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      },
      signal,
    });
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  #post<T extends KubeObject>(
    type: ResourceType<T>,
    object: NewObject<T>,
    options: Writing,
    query: Readonly<Record<string, string>> = {},
  ): Promise<JsonObject> {
    return this.#transport.request({
      action: `create ${type.kind} ${object.metadata.name}`,
      method: 'POST',
      path: this.#path(type),
      query: { ...writing(options), ...query },
      body: this.#bodyOf(type, object),
      signal: options.signal,
    });
  }

  /** Throws InvalidError with what the server `said`. Whatever else it answers now, also that the object exists, is about no field of it. */
  async #mustFit<T extends KubeObject>(
    type: ResourceType<T>,
    object: NewObject<T>,
    options: Writing,
    said: string | undefined,
  ): Promise<void> {
    try {
      await this.#post(type, object, options, { dryRun: 'All' });
    } catch (e) {
      if (e instanceof InvalidError) throw new InvalidError(said ?? e.message, e.causes);
    }
  }

  async #listPages<T extends KubeObject>(
    type: ResourceType<T>,
    selector: Selector | undefined,
    signal: AbortSignal | undefined,
    limit: string | undefined,
  ): Promise<ResourceList<T>> {
    const items: T[] = [];
    const invalid: InvalidObject[] = [];
    let next: string | undefined;
    for (;;) {
      const page = await this.#transport.request({
        action: `list ${type.plural}`,
        method: 'GET',
        path: this.#path(type),
        query: { ...queryOf(selector), limit, continue: next },
        signal,
      });
      const raws = page['items'];
      // Parsed page by page: the raw form of all of them at once is several times what we keep.
      const read = readObjects(
        type,
        (Array.isArray(raws) ? raws : []).filter(isJsonObject).map((raw) => named(type, slim(raw))),
      );
      items.push(...read.items);
      invalid.push(...read.invalid);
      const { continue: more, resourceVersion } = objectAt(page, 'metadata');
      if (typeof more === 'string' && more !== '') next = more;
      else return { items, invalid, resourceVersion: String(resourceVersion) };
    }
  }

  async #orGone<T extends KubeObject>(type: ResourceType<T>, wanted: Parameters<Transport['request']>[0]): Promise<T | undefined> {
    const body = await this.#unlessGone(wanted);
    return body === undefined ? undefined : readObject(type, slim(body));
  }

  async #unlessGone(wanted: Parameters<Transport['request']>[0]): Promise<JsonObject | undefined> {
    try {
      return await this.#transport.request(wanted);
    } catch (e) {
      if (e instanceof KubeError && e.code === 404) return undefined;
      throw e;
    }
  }

  #path(type: ResourceType<KubeObject>, name?: string): string {
    const root = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
    const all = `${root}/namespaces/${encodeURIComponent(this.namespace)}/${type.plural}`;
    return name === undefined ? all : `${all}/${encodeURIComponent(name)}`;
  }

  #bodyOf<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>): object {
    return { ...object, apiVersion: apiVersionOf(type), kind: type.kind, metadata: { ...object.metadata, namespace: this.namespace } };
  }
}

/** Strict: by default the server drops a field it does not know and answers 200. */
function writing({ fieldManager }: Writing): Record<string, string> {
  return { fieldManager, fieldValidation: 'Strict' };
}

function queryOf(selector: Selector | undefined): Record<string, string | undefined> {
  const join = (pairs: Readonly<Record<string, string>> | undefined): string | undefined => {
    const terms = Object.entries(pairs ?? {}).map(([key, value]) => `${key}=${value.replace(/[\\,=]/g, '\\$&')}`);
    return terms.length === 0 ? undefined : terms.join(',');
  };
  return { labelSelector: join(selector?.labels), fieldSelector: join(selector?.fields) };
}

/** Without managedFields: two thirds of what a Pod weighs, and nobody here reads them. */
function slim(object: JsonObject): JsonObject {
  const metadata = object['metadata'];
  if (isJsonObject(metadata)) delete (metadata as MutableJsonObject)['managedFields'];
  return object;
}

/** Items of a built-in kind's list do not say what they are. */
function named(type: ResourceType<KubeObject>, item: JsonObject): JsonObject {
  return item['kind'] === undefined ? { ...item, apiVersion: apiVersionOf(type), kind: type.kind } : item;
}

function statusCode(status: unknown): number {
  const code = isJsonObject(status) ? status['code'] : undefined;
  return typeof code === 'number' ? code : 500;
}
