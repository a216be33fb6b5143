/** What every ResourceStore promises. Run on the embedded one, and on a real API server when there is one. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { systemRandom } from '../lib/random.ts';
import { ConflictError, GoneError, InvalidError } from './errors.ts';
import { EventRecorder } from './events.ts';
import { runWhileLeader } from './lease.ts';
import {
  agentGroups,
  configMaps,
  events,
  leases,
  messagingGroups,
  type Pod,
  pods,
  secrets,
  secretValue,
  sessions,
} from './resource-types.ts';
import type { KubeObject, NewObject, ResourceStore, ResourceType, Selector, WatchEvent } from './store.ts';

export interface StoreUnderTest {
  /** Empty, and alone in its namespace. */
  readonly store: ResourceStore;
  /** Closes the store and takes away what it stored. */
  readonly dispose: () => Promise<void>;
  /** A version that a watch can no longer go on from, when the server can be made to forget. */
  readonly forgottenVersion?: () => Promise<string>;
}

const as = (fieldManager: string) => ({ fieldManager });
const agent = (name: string, spec: object = {}) =>
  ({ metadata: { name }, spec: { provider: { type: 'demo' }, ...spec } }) as NewObject<ReturnType<typeof agentGroups.parse>>;
const session = (name: string, spec: object = {}) =>
  ({
    metadata: { name },
    spec: { agentGroupRef: 'a', agentGroupUid: 'u', shard: 'shard-0', scope: `web/${name}`, ...spec },
  }) as NewObject<ReturnType<typeof sessions.parse>>;
const pod = (name: string, extra: object = {}): NewObject<Pod> => ({
  metadata: { name },
  // On a node: a Pod that no kubelet has is removed at once, grace period or not.
  spec: { nodeName: 'node-1', containers: [{ name: 'runner', image: 'localhost/runner:1' }], ...extra },
});

/** Events until `enough` says so. */
async function collect<T extends KubeObject>(
  store: ResourceStore,
  type: ResourceType<T>,
  options: {
    readonly from: string;
    readonly selector?: Selector;
    readonly enough: (events: readonly WatchEvent<T>[]) => boolean;
  },
): Promise<readonly WatchEvent<T>[]> {
  const stop = new AbortController();
  const events: WatchEvent<T>[] = [];
  const timer = setTimeout(() => stop.abort(), 60_000);
  try {
    for await (const event of store.watch(type, { resourceVersion: options.from, selector: options.selector, signal: stop.signal })) {
      events.push(event);
      if (options.enough(events)) break;
    }
    return events;
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}
const told = <T extends KubeObject>(events: readonly WatchEvent<T>[]): string[] =>
  events.flatMap((e) => (e.type === 'BOOKMARK' ? [] : [`${e.type} ${e.type === 'INVALID' ? e.object.name : e.object.metadata.name}`]));
const atLeast =
  (count: number) =>
  (events: readonly WatchEvent<KubeObject>[]): boolean =>
    events.filter((e) => e.type !== 'BOOKMARK').length >= count;

async function eventually(check: () => Promise<boolean>): Promise<void> {
  for (let left = 2_400; left > 0; left -= 1) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('did not become true within a minute');
}

async function refused(call: Promise<unknown>): Promise<Error> {
  try {
    await call;
  } catch (e) {
    if (e instanceof Error) return e;
  }
  throw new Error('was not refused');
}

export function resourceStoreContract(name: string, makeStore: () => Promise<StoreUnderTest>): void {
  describe(`${name} keeps the ResourceStore contract:`, () => {
    let under: StoreUnderTest;
    let store: ResourceStore;
    beforeEach(async () => {
      under = await makeStore();
      store = under.store;
    });
    afterEach(async () => {
      await under.dispose();
    });

    describe('create, get, list', () => {
      test('a created object has what the server fills in, defaults included', async () => {
        const made = await store.create(agentGroups, agent('a'), as('people'));
        expect(made.metadata).toMatchObject({ name: 'a', namespace: store.namespace, generation: 1 });
        expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
        expect(made.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
        expect(made.spec).toMatchObject({ effort: 'medium', idleTimeout: '10m', limits: { maxAwake: 20 }, shards: { count: 1 } });
        expect(await store.get(agentGroups, 'a')).toEqual(made);
      });

      test('what does not exist is undefined, and a name is taken once', async () => {
        expect(await store.get(agentGroups, 'a')).toBeUndefined();
        await store.create(agentGroups, agent('a'), as('people'));
        const error = await refused(store.create(agentGroups, agent('a'), as('people')));
        expect(error).toBeInstanceOf(ConflictError);
        expect(error).toMatchObject({ reason: 'AlreadyExists', message: 'agentgroups.dovecote.dev "a" already exists' });
      });

      test('built-in kinds are stored; a Secret is read as text', async () => {
        const data = { 'api-key': Buffer.from('s3cret').toString('base64') };
        await store.create(secrets, { metadata: { name: 's' }, data, stringData: { other: 'ü' }, type: 'Opaque' }, as('people'));
        const secret = await store.get(secrets, 's');
        if (secret === undefined) throw new Error('gone');
        expect([secretValue(secret, 'api-key'), secretValue(secret, 'other'), secret.stringData]).toEqual(['s3cret', 'ü', undefined]);
        expect(() => secretValue(secret, 'none')).toThrow('cannot read key none of Secret s: it has only api-key, other');
        const made = await store.create(pods, pod('p'), as('controller'));
        expect(made).toMatchObject({ apiVersion: 'v1', kind: 'Pod', spec: { containers: [{ name: 'runner' }] } });
        expect((await store.list(pods)).items.map((p) => `${p.apiVersion} ${p.kind} ${p.metadata.name}`)).toEqual(['v1 Pod p']);
      });

      test('labels and declared fields select; an undeclared field is refused', async () => {
        await store.create(
          sessions,
          { ...session('s1', { awake: true }), metadata: { name: 's1', labels: { tier: 'x' } } },
          as('delivery'),
        );
        await store.create(sessions, session('s2'), as('delivery'));
        await store.create(sessions, session('s3', { agentGroupRef: 'b', awake: true }), as('delivery'));
        const names = async (selector?: Selector): Promise<string[]> =>
          (await store.list(sessions, selector)).items.map((s) => s.metadata.name);
        expect(await names()).toEqual(['s1', 's2', 's3']);
        expect(await names({ labels: { tier: 'x' } })).toEqual(['s1']);
        expect(await names({ fields: { 'spec.awake': 'true' } })).toEqual(['s1', 's3']);
        expect(await names({ fields: { 'spec.awake': 'true', 'spec.agentGroupRef': 'a' } })).toEqual(['s1']);
        expect(await names({ fields: { 'metadata.name': 's2' } })).toEqual(['s2']);
        const error = await refused(store.list(sessions, { fields: { 'spec.title': 'x' } }));
        expect(error).toBeInstanceOf(InvalidError);
        expect(error.message).toContain('field label not supported: spec.title');
      });

      test('an aborted call does nothing', async () => {
        const signal = AbortSignal.abort(new Error('stopped'));
        await expect(store.create(agentGroups, agent('a'), { ...as('people'), signal })).rejects.toThrow('stopped');
        expect(await store.get(agentGroups, 'a')).toBeUndefined();
      });
    });

    describe('validation', () => {
      test('a broken rule is refused in the words of the API server, with the field', async () => {
        const error = await refused(store.create(agentGroups, agent('a', { idleTimeout: '200h' }), as('people')));
        expect(error).toBeInstanceOf(InvalidError);
        expect(error.message).toBe(
          'AgentGroup.dovecote.dev "a" is invalid: spec.idleTimeout: Invalid value: "string": must be between 1s and 168h, not 200h',
        );
        expect(error).toMatchObject({ causes: [{ field: 'spec.idleTimeout', reason: 'FieldValueInvalid' }] });
      });

      test('several failures are told together', async () => {
        const error = await refused(store.create(agentGroups, agent('a', { effort: 'huge', limits: { maxAwake: 0 } }), as('people')));
        expect(error).toBeInstanceOf(InvalidError);
        expect(error.message).toMatch(/^AgentGroup\.dovecote\.dev "a" is invalid: \[/);
        const fields = error instanceof InvalidError ? error.causes.map((c) => c.field).sort() : [];
        expect(fields).toEqual(['spec.effort', 'spec.limits.maxAwake']);
      });

      test('an immutable field is Forbidden', async () => {
        await store.create(sessions, session('s'), as('delivery'));
        const error = await refused(store.patch(sessions, 's', { spec: { shard: 'shard-1' } }, as('delivery')));
        expect(error).toBeInstanceOf(InvalidError);
        expect(error.message).toBe('Session.dovecote.dev "s" is invalid: spec.shard: Forbidden: field is immutable');
      });

      test('an unknown field is refused on create, patch and apply', async () => {
        const bad = agent('a', { instuctions: 'x' });
        const error = await refused(store.create(agentGroups, bad, as('people')));
        expect(error).toBeInstanceOf(InvalidError);
        expect(error.message).toBe(
          'AgentGroup in version "v1alpha1" cannot be handled as a AgentGroup: strict decoding error: unknown field "spec.instuctions"',
        );
        await store.create(agentGroups, agent('a'), as('people'));
        expect(await refused(store.patch(agentGroups, 'a', { spec: { instuctions: 'x' } }, as('people')))).toBeInstanceOf(InvalidError);
        const applied = await refused(store.apply(agentGroups, bad, as('people')));
        expect(applied).toBeInstanceOf(InvalidError); // a real server calls it a failure of its own
        expect(applied.message).toMatch(/^failed to create typed patch object .*: \.spec\.instuctions: field not declared in schema$/);
      });

      test('a value of another type is refused on apply too', async () => {
        const error = await refused(store.apply(agentGroups, agent('a', { limits: { maxAwake: 'many' } }), as('people')));
        expect(error).toBeInstanceOf(InvalidError);
        expect(error.message).toContain('spec.limits.maxAwake');
      });

      test('a bad name is refused', async () => {
        const error = await refused(store.create(configMaps, { metadata: { name: 'Bad_Name' } }, as('people')));
        expect(error).toBeInstanceOf(InvalidError);
        expect(error.message).toContain(
          'ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain',
        );
      });
    });

    describe('patch', () => {
      test('merges, removes by null, and counts generations for what is wanted only', async () => {
        await store.create(
          agentGroups,
          { ...agent('a', { model: 'm1' }), metadata: { name: 'a', labels: { x: '1', y: '2' } } },
          as('people'),
        );
        const labelled = await store.patch(agentGroups, 'a', { metadata: { labels: { x: null, z: '3' } } }, as('people'));
        expect(labelled?.metadata).toMatchObject({ generation: 1 });
        expect(labelled?.metadata.labels).toEqual({ y: '2', z: '3' });
        const changed = await store.patch(agentGroups, 'a', { spec: { model: null, effort: 'high' } }, as('people'));
        expect(changed?.metadata.generation).toBe(2);
        expect(changed?.spec).toMatchObject({ effort: 'high' });
        expect(changed?.spec.model).toBeUndefined();
      });

      test('a patch that changes nothing writes nothing', async () => {
        const made = await store.create(agentGroups, agent('a'), as('people'));
        const same = await store.patch(agentGroups, 'a', { spec: { effort: 'medium' } }, as('people'));
        expect(same?.metadata.resourceVersion).toBe(made.metadata.resourceVersion);
      });

      test('with an old resourceVersion it is a conflict; what is gone is undefined', async () => {
        const made = await store.create(agentGroups, agent('a'), as('people'));
        await store.patch(agentGroups, 'a', { spec: { effort: 'low' } }, as('people'));
        const { resourceVersion } = made.metadata;
        const error = await refused(
          store.patch(agentGroups, 'a', { metadata: { resourceVersion }, spec: { effort: 'max' } }, as('people')),
        );
        expect(error).toBeInstanceOf(ConflictError);
        expect(error).toMatchObject({ reason: 'Conflict' });
        const uid = '00000000-0000-4000-8000-000000000000';
        const otherUid = await refused(store.patch(agentGroups, 'a', { metadata: { uid }, spec: { effort: 'max' } }, as('people')));
        expect(otherUid.message).toBe(`AgentGroup.dovecote.dev "a" is invalid: metadata.uid: Invalid value: "${uid}": field is immutable`);
        const both = { metadata: { uid, resourceVersion }, spec: { effort: 'max' } };
        expect(await refused(store.patch(agentGroups, 'a', both, as('people')))).toBeInstanceOf(ConflictError);
        expect(await store.patch(agentGroups, 'b', { spec: { effort: 'max' } }, as('people'))).toBeUndefined();
      });
    });

    describe('apply', () => {
      test('creates, then updates; the same again writes nothing', async () => {
        const made = await store.apply(agentGroups, agent('a', { model: 'm1' }), as('people'));
        expect(made.metadata.generation).toBe(1);
        expect(made.spec.effort).toBe('medium');
        const again = await store.apply(agentGroups, agent('a', { model: 'm1' }), as('people'));
        expect(again.metadata.resourceVersion).toBe(made.metadata.resourceVersion);
        const changed = await store.apply(agentGroups, agent('a', { model: 'm2' }), as('people'));
        expect(changed.metadata.generation).toBe(2);
      });

      test('a field that its manager drops is removed, or falls back to its default', async () => {
        await store.apply(agentGroups, agent('a', { model: 'm1', effort: 'high', instructions: 'x' }), as('people'));
        const dropped = await store.apply(agentGroups, agent('a', { model: 'm1' }), as('people'));
        expect(dropped.spec.instructions).toBeUndefined();
        expect(dropped.spec.effort).toBe('medium');
        expect(dropped.spec.model).toBe('m1');
      });

      test('two managers: each keeps its own, shared fields stay until both let go', async () => {
        await store.apply(agentGroups, agent('a', { model: 'm1', displayName: 'A' }), as('one'));
        await store.apply(agentGroups, agent('a', { model: 'm1', instructions: 'I' }), as('two'));
        const both = await store.apply(agentGroups, agent('a'), as('one'));
        expect(both.spec).toMatchObject({ model: 'm1', instructions: 'I' });
        expect(both.spec.displayName).toBeUndefined();
        const none = await store.apply(agentGroups, agent('a'), as('two'));
        expect(none.spec.model).toBeUndefined();
        expect(none.spec.instructions).toBeUndefined();
      });

      test('a value that another manager forced away is no longer ours to remove', async () => {
        await store.apply(agentGroups, agent('a', { model: 'm1' }), as('one'));
        await store.apply(agentGroups, agent('a', { model: 'm2' }), as('two'));
        const after = await store.apply(agentGroups, agent('a'), as('one'));
        expect(after.spec.model).toBe('m2');

        await store.apply(agentGroups, agent('b', { model: 'm1' }), as('one'));
        await store.apply(agentGroups, agent('b', { model: 'm2' }), as('two'));
        const gone = await store.apply(agentGroups, agent('b'), as('two'));
        expect(gone.spec.model).toBeUndefined();
      });

      test('what a manager created or patched, it does not remove by applying without it', async () => {
        await store.create(agentGroups, agent('a', { model: 'm1' }), as('one'));
        await store.patch(agentGroups, 'a', { spec: { displayName: 'A' } }, as('one'));
        const after = await store.apply(agentGroups, agent('a'), as('one'));
        expect(after.spec).toMatchObject({ model: 'm1', displayName: 'A' });
      });

      test('items of keyed lists and members of sets are owned one by one', async () => {
        const group = (agents: readonly object[]) =>
          ({ metadata: { name: 'g' }, spec: { channelRef: 'c', chatId: '1', agents } }) as NewObject<
            ReturnType<typeof messagingGroups.parse>
          >;
        await store.apply(messagingGroups, group([{ agentGroupRef: 'x', priority: 1 }, { agentGroupRef: 'y' }]), as('one'));
        await store.apply(messagingGroups, group([{ agentGroupRef: 'z' }, { agentGroupRef: 'y', priority: 7 }]), as('two'));
        const after = await store.apply(messagingGroups, group([]), as('one'));
        expect(after.spec.agents.map((w) => `${w.agentGroupRef} ${w.priority}`).sort()).toEqual(['y 7', 'z 0']);

        // To have changed a field of an item is not to own the item.
        await store.apply(messagingGroups, group([{ agentGroupRef: 'p', priority: 1 }]), as('three'));
        await store.patch(messagingGroups, 'g', { spec: { agents: [{ agentGroupRef: 'p', priority: 2 }] } }, as('four'));
        const left = await store.apply(messagingGroups, group([]), as('three'));
        expect(left.spec.agents).toEqual([]);

        await store.apply(agentGroups, agent('a', { tools: ['t1', 't2'] }), as('one'));
        await store.apply(agentGroups, agent('a', { tools: ['t2', 't3'] }), as('two'));
        const tools = await store.apply(agentGroups, agent('a'), as('one'));
        expect([...(tools.spec.tools ?? [])].sort()).toEqual(['t2', 't3']);
      });

      test('labels, annotations and nested maps are owned key by key', async () => {
        const map = (labels: Record<string, string>, data: Record<string, string>) => ({ metadata: { name: 'm', labels }, data });
        await store.apply(configMaps, map({ a: '1', b: '1' }, { x: '1' }), as('one'));
        await store.apply(configMaps, map({ b: '1', c: '1' }, { y: '1' }), as('two'));
        const after = await store.apply(configMaps, { metadata: { name: 'm' } }, as('one'));
        expect(after.metadata.labels).toEqual({ b: '1', c: '1' });
        expect(after.data).toEqual({ y: '1' });
        const empty = await store.apply(configMaps, { metadata: { name: 'm' } }, as('two'));
        expect(empty.metadata.labels).toBeUndefined();
        expect(empty.data).toBeUndefined();
      });

      test('a block that is dropped as a whole goes as a whole', async () => {
        await store.apply(agentGroups, agent('a', { resources: { limits: { cpu: '1' } } }), as('one'));
        const after = await store.apply(agentGroups, agent('a'), as('one'));
        expect(after.spec.resources).toBeUndefined();
        await store.apply(agentGroups, agent('b', { resources: { limits: { cpu: '1' }, requests: { cpu: '1' } } }), as('one'));
        const part = await store.apply(agentGroups, agent('b', { resources: { limits: { cpu: '1' } } }), as('one'));
        expect(part.spec.resources).toEqual({ limits: { cpu: '1' } });
      });
    });

    describe('status', () => {
      const ready = { type: 'Ready', status: 'True', reason: 'Accepted', message: 'ok', lastTransitionTime: '2026-01-01T00:00:00Z' };

      test('is written apart from the rest, and the rest apart from it', async () => {
        const made = await store.create(agentGroups, Object.assign(agent('a'), { status: { sessions: 5 } }), as('people'));
        expect(made.metadata.name).toBe('a');
        expect((await store.get(agentGroups, 'a'))?.status?.sessions).toBeUndefined();
        const written = await store.applyStatus(agentGroups, 'a', { sessions: 3, conditions: [ready] }, as('controller'));
        expect(written?.status).toMatchObject({ sessions: 3, conditions: [ready] });
        expect(written?.metadata.generation).toBe(1);
        await store.patch(agentGroups, 'a', { status: { sessions: 9 }, spec: { model: 'm' } }, as('people'));
        await store.apply(agentGroups, agent('a', { model: 'm2' }), as('gitops'));
        const after = await store.get(agentGroups, 'a');
        expect(after?.status).toMatchObject({ sessions: 3, conditions: [ready] });
        expect(after?.spec.model).toBe('m2');
      });

      test('two managers write different conditions; dropping one removes that one only', async () => {
        await store.create(agentGroups, agent('a'), as('people'));
        await store.applyStatus(agentGroups, 'a', { conditions: [ready], sessions: 1 }, as('controller'));
        await store.applyStatus(agentGroups, 'a', { conditions: [{ ...ready, type: 'CredentialsFound', reason: 'Found' }] }, as('gateway'));
        const after = await store.applyStatus(agentGroups, 'a', { sessions: 1 }, as('controller'));
        expect(after?.status?.conditions?.map((c) => c.type)).toEqual(['CredentialsFound']);
        const same = await store.applyStatus(agentGroups, 'a', { sessions: 1 }, as('controller'));
        expect(same?.metadata.resourceVersion).toBe(after?.metadata.resourceVersion);
      });

      test('is validated; of a missing object it is undefined', async () => {
        await store.create(agentGroups, agent('a'), as('people'));
        const error = await refused(store.applyStatus(agentGroups, 'a', { sessions: -1 }, as('controller')));
        expect(error).toBeInstanceOf(InvalidError);
        expect(await store.applyStatus(agentGroups, 'b', { sessions: 1 }, as('controller'))).toBeUndefined();
      });

      test('of a Pod', async () => {
        await store.create(pods, pod('p'), as('controller'));
        const after = await store.applyStatus(
          pods,
          'p',
          { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }] },
          as('kubelet'),
        );
        expect(after?.status).toMatchObject({ phase: 'Running', podIP: '10.0.0.1' });
      });
    });

    describe('deletion', () => {
      test('removes, and twice is as good as once', async () => {
        await store.create(agentGroups, agent('a'), as('people'));
        await store.delete(agentGroups, 'a');
        expect(await store.get(agentGroups, 'a')).toBeUndefined();
        await store.delete(agentGroups, 'a');
      });

      test("another object's uid is a conflict", async () => {
        const made = await store.create(agentGroups, agent('a'), as('people'));
        const error = await refused(store.delete(agentGroups, 'a', { uid: '00000000-0000-4000-8000-000000000000' }));
        expect(error).toBeInstanceOf(ConflictError);
        await store.delete(agentGroups, 'a', { uid: made.metadata.uid });
        expect(await store.get(agentGroups, 'a')).toBeUndefined();
      });

      test('waits for finalizers, takes no new ones, and ends with the last', async () => {
        await store.create(
          agentGroups,
          { ...agent('a'), metadata: { name: 'a', finalizers: ['dovecote.dev/one', 'dovecote.dev/two'] } },
          as('c'),
        );
        await store.delete(agentGroups, 'a');
        const dying = await store.get(agentGroups, 'a');
        expect(dying?.metadata.deletionTimestamp).toMatch(/Z$/);
        const finalizers = ['dovecote.dev/one', 'dovecote.dev/two', 'dovecote.dev/three'];
        const error = await refused(store.patch(agentGroups, 'a', { metadata: { finalizers } }, as('c')));
        expect(error).toBeInstanceOf(InvalidError);
        expect(error.message).toContain('no new finalizers can be added if the object is being deleted');
        await store.patch(agentGroups, 'a', { metadata: { finalizers: ['dovecote.dev/two'] } }, as('c'));
        expect(await store.get(agentGroups, 'a')).toBeDefined();
        await store.patch(agentGroups, 'a', { metadata: { finalizers: null } }, as('c'));
        expect(await store.get(agentGroups, 'a')).toBeUndefined();
      });

      test('of a Pod is graceful until the kubelet removes it', async () => {
        const made = await store.create(pods, pod('p', { terminationGracePeriodSeconds: 60 }), as('controller'));
        await store.delete(pods, 'p');
        const ending = await store.get(pods, 'p');
        expect(ending?.metadata.deletionGracePeriodSeconds).toBe(60);
        expect(ending?.metadata.deletionTimestamp).toBeDefined();
        await store.delete(pods, 'p');
        await store.patch(pods, 'p', { metadata: { labels: { x: 'y' } } }, as('controller'));
        await store.applyStatus(pods, 'p', { phase: 'Running' }, as('kubelet'));
        expect((await store.get(pods, 'p'))?.metadata.uid).toBe(made.metadata.uid);
        await store.delete(pods, 'p', { gracePeriodSeconds: 0, uid: made.metadata.uid });
        expect(await store.get(pods, 'p')).toBeUndefined();
      });

      test('of an owner takes the dependants with it, in the background', async () => {
        const owner = await store.create(sessions, session('s'), as('delivery'));
        const { apiVersion, kind, metadata } = owner;
        const ownerReferences = [{ apiVersion, kind, name: metadata.name, uid: metadata.uid, controller: true }];
        await store.create(configMaps, { metadata: { name: 'child', ownerReferences } }, as('controller'));
        await store.create(configMaps, { metadata: { name: 'other' } }, as('controller'));
        const { resourceVersion: from } = await store.list(configMaps);
        await store.delete(sessions, 's');
        // Whoever watches hears of it. A cluster's collector learns of new kinds only every half minute.
        const selector = { fields: { 'metadata.name': 'child' } };
        expect(told(await collect(store, configMaps, { from, selector, enough: atLeast(1) }))).toEqual(['DELETED child']);
        expect(await store.get(configMaps, 'child')).toBeUndefined();
        expect(await store.get(configMaps, 'other')).toBeDefined();
      });

      test('an owner that is gone already takes its new dependant with it', async () => {
        const { apiVersion, kind, metadata } = await store.create(sessions, session('s'), as('delivery'));
        await store.delete(sessions, 's');
        await new Promise((resolve) => setTimeout(resolve, 50));
        const ownerReferences = [{ apiVersion, kind, name: metadata.name, uid: metadata.uid }];
        await store.create(configMaps, { metadata: { name: 'late', ownerReferences } }, as('controller'));
        await eventually(async () => (await store.get(configMaps, 'late')) === undefined);
      });
    });

    describe('watch', () => {
      test('goes on from a list: changes since, in order, then live', async () => {
        await store.create(agentGroups, agent('old'), as('people'));
        const { resourceVersion: from } = await store.list(agentGroups);
        await store.create(agentGroups, agent('a'), as('people'));
        const events = collect(store, agentGroups, { from, enough: atLeast(4) });
        await store.patch(agentGroups, 'a', { spec: { effort: 'low' } }, as('people'));
        await store.create(secrets, { metadata: { name: 's' } }, as('people'));
        await store.delete(agentGroups, 'old');
        await store.applyStatus(agentGroups, 'a', { sessions: 1 }, as('controller'));
        expect(told(await events)).toEqual(['ADDED a', 'MODIFIED a', 'DELETED old', 'MODIFIED a']);
      });

      test('resumes after any event it has told', async () => {
        const { resourceVersion: from } = await store.list(agentGroups);
        for (const name of ['a', 'b', 'c']) await store.create(agentGroups, agent(name), as('people'));
        const first = await collect(store, agentGroups, { from, enough: atLeast(2) });
        const last = first.at(-1);
        const at = last?.type === 'ADDED' ? last.object.metadata.resourceVersion : '';
        expect(told(await collect(store, agentGroups, { from: at, enough: atLeast(1) }))).toEqual(['ADDED c']);
      });

      test('a deleted object comes with its last state and a new version', async () => {
        const made = await store.create(agentGroups, agent('a'), as('people'));
        await store.delete(agentGroups, 'a');
        const [event] = await collect(store, agentGroups, { from: made.metadata.resourceVersion, enough: atLeast(1) });
        expect(event).toMatchObject({ type: 'DELETED', object: { metadata: { uid: made.metadata.uid } } });
        const version = event?.type === 'DELETED' ? event.object.metadata.resourceVersion : '';
        expect(BigInt(version)).toBeGreaterThan(BigInt(made.metadata.resourceVersion));
      });

      test('through a selector, what stops matching is DELETED and comes back as ADDED', async () => {
        const { resourceVersion: from } = await store.list(sessions);
        const selector = { fields: { 'spec.awake': 'true' } };
        await store.create(sessions, session('s'), as('delivery'));
        for (const awake of [true, false, true]) await store.patch(sessions, 's', { spec: { awake } }, as('delivery'));
        expect(told(await collect(store, sessions, { from, selector, enough: atLeast(3) }))).toEqual(['ADDED s', 'DELETED s', 'ADDED s']);
      });

      test('ends when asked to, by time or by signal, and can be gone on from', async () => {
        const { resourceVersion: from } = await store.list(agentGroups);
        await store.create(agentGroups, agent('a'), as('people'));
        const events: WatchEvent<KubeObject>[] = [];
        for await (const event of store.watch(agentGroups, {
          resourceVersion: from,
          timeoutMs: 3_000,
          signal: new AbortController().signal,
        })) {
          events.push(event);
        }
        expect(told(events)).toEqual(['ADDED a']);
        await store.create(agentGroups, agent('b'), as('people'));
        const last = events.at(-1);
        const at = last?.type === 'BOOKMARK' ? last.resourceVersion : last?.type === 'ADDED' ? last.object.metadata.resourceVersion : '';
        expect(told(await collect(store, agentGroups, { from: at, enough: atLeast(1) }))).toEqual(['ADDED b']);

        const stop = new AbortController();
        const ended = (async () => {
          for await (const _ of store.watch(agentGroups, { resourceVersion: at, signal: stop.signal })) stop.abort();
        })();
        await ended;
      });

      test('from a version that is forgotten is Gone', async () => {
        const forgotten = await under.forgottenVersion?.();
        if (forgotten === undefined) return;
        expect(await refused(collect(store, agentGroups, { from: forgotten, enough: atLeast(1) }))).toBeInstanceOf(GoneError);
      });
    });

    test('an Event is taken, and its series counted', async () => {
      const { apiVersion, kind, metadata } = await store.create(configMaps, { metadata: { name: 'm' } }, as('test'));
      const { name, namespace, uid } = metadata;
      const recorder = new EventRecorder({
        store,
        reporter: { controller: 'dovecote.dev/contract', instance: 'pod-1' },
        clock: systemClock,
        random: systemRandom,
        log: silentLog,
        limits: { countMs: 50 },
      });
      const stop = new AbortController();
      const running = recorder.run(stop.signal);
      const regarding = { apiVersion, kind, metadata };
      for (let i = 0; i < 3; i += 1) recorder.record({ regarding, type: 'Warning', reason: 'Broken', action: 'Mend', note: 'it broke' });
      const ours = async () => (await store.list(events)).items.filter((e) => e.reason === 'Broken');
      await eventually(async () => (await ours())[0]?.series?.count === 3);
      expect(await ours()).toMatchObject([{ note: 'it broke', regarding: { kind, name, namespace, uid }, type: 'Warning' }]);
      stop.abort();
      await running;
    });

    test('a Lease is taken by one of two, and let go', async () => {
      const order: string[] = [];
      const once = (identity: string) =>
        runWhileLeader(
          {
            store,
            name: 'l',
            identity,
            fieldManager: identity,
            times: { leaseMs: 2_000, renewDeadlineMs: 1_000, retryMs: 50 },
            clock: systemClock,
            random: systemRandom,
            log: silentLog,
            signal: new AbortController().signal,
          },
          async (signal) => {
            order.push(`${identity} starts`);
            await systemClock.sleep(300, signal);
            order.push(`${identity} ends`);
          },
        );
      await Promise.all([once('a'), once('b')]);
      const [first, second] = order[0] === 'a starts' ? ['a', 'b'] : ['b', 'a'];
      expect(order).toEqual([`${first} starts`, `${first} ends`, `${second} starts`, `${second} ends`]);
      expect((await store.get(leases, 'l'))?.spec).toMatchObject({ leaseTransitions: 1 });
    });

    test('a Lease keeps its microsecond times as strings', async () => {
      const renewTime = '2026-01-02T03:04:05.678901Z';
      await store.create(
        leases,
        { metadata: { name: 'l' }, spec: { holderIdentity: 'me', leaseDurationSeconds: 15, renewTime } },
        as('me'),
      );
      expect((await store.get(leases, 'l'))?.spec?.renewTime).toBe(renewTime);
    });
  });
}
