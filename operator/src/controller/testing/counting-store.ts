/** Test only: a ResourceStore that notes every write on its way. */
import type { KubeObject, ResourceStore, ResourceType } from '../../kube/store.ts';

type Verb = 'create' | 'apply' | 'applyStatus' | 'patch' | 'delete';

export class CountingStore implements ResourceStore {
  /** Such as "create Pod": in the order of the calls, failed ones too. */
  readonly writes: string[] = [];
  /** Such as "get Secret". */
  readonly reads: string[] = [];
  /** Thrown by the next writes, each once, if its verb and kind match. */
  readonly failures: { readonly what: string; readonly error: Error }[] = [];
  readonly #store: ResourceStore;

  constructor(store: ResourceStore) {
    this.#store = store;
  }

  get namespace(): string {
    return this.#store.namespace;
  }

  readonly get: ResourceStore['get'] = (type, name, call) => {
    this.reads.push(`get ${type.kind}`);
    return this.#store.get(type, name, call);
  };
  readonly list: ResourceStore['list'] = (type, selector, call) => this.#store.list(type, selector, call);
  readonly watch: ResourceStore['watch'] = (type, options) => this.#store.watch(type, options);
  readonly create: ResourceStore['create'] = async (type, object, options) => {
    this.#note('create', type);
    return this.#store.create(type, object, options);
  };
  readonly apply: ResourceStore['apply'] = async (type, object, options) => {
    this.#note('apply', type);
    return this.#store.apply(type, object, options);
  };
  readonly applyStatus: ResourceStore['applyStatus'] = async (type, name, status, options) => {
    this.#note('applyStatus', type);
    return this.#store.applyStatus(type, name, status, options);
  };
  readonly patch: ResourceStore['patch'] = async (type, name, patch, options) => {
    this.#note('patch', type);
    return this.#store.patch(type, name, patch, options);
  };
  readonly delete: ResourceStore['delete'] = async (type, name, options) => {
    this.#note('delete', type);
    return this.#store.delete(type, name, options);
  };
  close(): Promise<void> {
    return this.#store.close();
  }

  /** What was written since the last call, without the Lease's renewals. */
  takeWrites(): string[] {
    return this.writes.splice(0).filter((write) => !write.endsWith(' Lease'));
  }

  #note(verb: Verb, { kind }: ResourceType<KubeObject>): void {
    const what = `${verb} ${kind}`;
    this.writes.push(what);
    const at = this.failures.findIndex((failure) => failure.what === what);
    if (at >= 0) throw this.failures.splice(at, 1)[0]?.error;
  }
}
