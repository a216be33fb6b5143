/**
 * The embedded store and a real API server, given the same random writes by several managers: the same objects, the same
 * refusals. Only where KUBECONFIG_UNDER_TEST names a cluster; the contract suite says what both must do, this finds what it forgot.
 */

import { expect, test } from '@jest/globals';
import { CoreV1Api } from '@kubernetes/client-node';
import fc from 'fast-check';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { systemRandom } from '../lib/random.ts';
import { ApiServerStore } from './api-server.ts';
import { loadKubeConfig } from './credentials.ts';
import { EmbeddedStore } from './embedded/embedded-store.ts';
import { ConflictError, InvalidError } from './errors.ts';
import { agentGroups, configMaps, messagingGroups } from './resource-types.ts';
import type { KubeObject, NewObject, ResourceStore, ResourceType } from './store.ts';

const path = process.env['KUBECONFIG_UNDER_TEST'];
const some = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const clean = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/**
 * Left out when empty: where an apply puts `{}` in the place of fields that it owned, a real server makes a null of it, drops it,
 * or refuses the null. The embedded store takes it. The same for a status that becomes empty but for an empty list.
 */
const filled = (value: fc.Arbitrary<object>) =>
  value.map((v) => {
    const cleaned = clean(v) as object;
    return Object.keys(cleaned).length === 0 ? undefined : cleaned;
  });
const words = (keys: readonly string[]) => filled(fc.dictionary(fc.constantFrom(...keys), fc.constantFrom('1', '2')));

const metadata = {
  labels: words(['x', 'y']),
  annotations: words(['n']),
  finalizers: some(fc.subarray(['dovecote.dev/a', 'dovecote.dev/b'])),
};
const agentSpec = fc.record({
  provider: fc.constant({ type: 'demo' }),
  model: some(fc.constantFrom('m1', 'm2', '')),
  effort: some(fc.constantFrom('low', 'high', 'huge')),
  idleTimeout: some(fc.constantFrom('5m', '200h')),
  tools: some(fc.subarray(['t1', 't2', 't3'])),
  limits: filled(fc.record({ maxAwake: some(fc.constantFrom(0, 1, 2)), maxSteps: some(fc.constantFrom(1, 2)) })),
  resources: filled(
    fc.record({
      limits: filled(fc.record({ cpu: some(fc.constantFrom('1', 2)) })),
      requests: filled(fc.record({ memory: some(fc.constant('1Gi')) })),
    }),
  ),
  podLabels: words(['x', 'y']),
});
const wiring = fc.record({
  agentGroupRef: fc.constantFrom('p', 'q', 'r'),
  priority: some(fc.constantFrom(1, 2)),
  ignored: some(fc.constantFrom('Drop', 'Accumulate')),
});
const groupSpec = fc.record({
  channelRef: fc.constantFrom('c', 'c', 'c', 'd'),
  chatId: fc.constant('1'),
  agents: some(fc.uniqueArray(wiring, { selector: (w) => w.agentGroupRef, maxLength: 3 })),
});
const data = fc.record({ data: words(['x', 'y', 'z']) });
const status = fc.record({
  sessions: some(fc.constantFrom(0, 1, -1)),
  shards: some(fc.subarray(['s0', 's1'], { minLength: 1 })),
  conditions: some(
    fc.uniqueArray(
      fc.record({
        type: fc.constantFrom('Ready', 'ShardsAssigned'),
        status: fc.constantFrom('True', 'False', 'Maybe'),
        reason: fc.constant('R'),
        message: fc.constant(''),
        lastTransitionTime: fc.constant('2026-01-01T00:00:00Z'),
      }),
      { selector: (c) => c.type, minLength: 1 },
    ),
  ),
});

type Step = (store: ResourceStore) => Promise<KubeObject | undefined | boolean>;
const manager = fc.constantFrom('one', 'two', 'three');
const writesOf = (
  type: ResourceType<KubeObject>,
  body: fc.Arbitrary<object>,
): fc.Arbitrary<{ readonly says: string; readonly step: Step }> => {
  const object = fc
    .tuple(fc.record(metadata), body)
    .map(([meta, rest]) => clean({ metadata: { ...meta, name: 'o' }, ...rest }) as NewObject<KubeObject>);
  const named = (what: string, by: string, value: unknown, step: Step) => ({ says: `${what} by ${by}: ${JSON.stringify(value)}`, step });
  const nulled = object.map((o) =>
    JSON.parse(
      JSON.stringify(o, (key, value) => (key !== 'provider' && (value === 'm2' || value === 'low' || value === '2') ? null : value)),
    ),
  );
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(manager, object).map(([by, o]) => named('apply', by, o, (s) => s.apply(type, o, { fieldManager: by }))),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(manager, nulled).map(([by, o]) => named('patch', by, o, (s) => s.patch(type, 'o', o, { fieldManager: by }))),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(manager, object).map(([by, o]) => named('create', by, o, (s) => s.create(type, o, { fieldManager: by }))),
    },
    { weight: 1, arbitrary: fc.constant(named('delete', 'us', '', async (s) => (await s.delete(type, 'o')) === undefined)) },
    ...(type.hasStatus
      ? [
          {
            weight: 3,
            arbitrary: fc
              .tuple(manager, status.map(clean))
              .map(([by, st]) => named('status', by, st, (s) => s.applyStatus(type, 'o', st as object, { fieldManager: by }))),
          },
        ]
      : []),
  );
};

/** Without what two servers cannot agree on. */
function comparable(value: unknown): unknown {
  if (value === undefined || typeof value === 'boolean') return value;
  const dropped = new Set(['uid', 'resourceVersion', 'creationTimestamp', 'deletionTimestamp', 'namespace']);
  return JSON.parse(JSON.stringify(value, (key, inner) => (dropped.has(key) ? undefined : inner)));
}

async function outcome(store: ResourceStore, step: Step): Promise<unknown> {
  try {
    return comparable(await step(store));
  } catch (e) {
    if (e instanceof ConflictError) return e.reason;
    // An apply that does not fit the schema: a 500 there. Which of several fields is named is chance.
    if (e instanceof Error && e.message.includes('failed to create typed patch object')) return 'does not fit the schema';
    // The order of several failures is that of a Go map: chance.
    if (e instanceof InvalidError) {
      const causes = new Set(e.causes.map((c) => `${c.field}: ${c.reason}: ${c.message}`)); // the server says some of them twice
      const finalizers = [...causes].filter((c) => c.startsWith('metadata.finalizers')); // told alone by us, with others there
      return [e.message.replace(/ is invalid: .*/, ''), ...(finalizers.length > 0 ? finalizers : [...causes].sort())];
    }
    throw e;
  }
}

const runs = Number(process.env['DIFFERENTIAL_RUNS'] ?? 60);

(path === undefined ? test.skip : test).each([
  ['AgentGroup', agentGroups as ResourceType<KubeObject>, agentSpec.map((spec) => ({ spec }))],
  ['MessagingGroup', messagingGroups as ResourceType<KubeObject>, groupSpec.map((spec) => ({ spec }))],
  ['ConfigMap', configMaps as ResourceType<KubeObject>, data],
] as const)(
  'embedded and real agree on random writes to a %s',
  async (_, type, body) => {
    const kubeConfig = loadKubeConfig({ path: path ?? '' });
    const namespaces = kubeConfig.makeApiClient(CoreV1Api);
    const namespace = `differential-${systemRandom.id(8)}`;
    await namespaces.createNamespace({ body: { metadata: { name: namespace } } });
    const options = { namespace, clock: systemClock, random: systemRandom };
    const real = new ApiServerStore({ ...options, kubeConfig });
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(writesOf(type, body as fc.Arbitrary<object>), { minLength: 3, maxLength: 12 }), async (writes) => {
          const embedded = new EmbeddedStore({ ...options, path: ':memory:', log: silentLog });
          try {
            for (const { step, says } of writes) {
              const [ours, theirs] = [await outcome(embedded, step), await outcome(real, step)];
              const [kept, keptThere] = [comparable(await embedded.get(type, 'o')), comparable(await real.get(type, 'o'))];
              expect({ says, outcome: ours, stored: kept }).toEqual({ says, outcome: theirs, stored: keptThere });
            }
          } finally {
            await embedded.close();
            await real.patch(type, 'o', { metadata: { finalizers: null } }, { fieldManager: 'test' });
            await real.delete(type, 'o');
          }
        }),
        { numRuns: runs, interruptAfterTimeLimit: 60_000 },
      );
    } finally {
      await real.close();
      await namespaces.deleteNamespace({ name: namespace });
    }
  },
  120_000,
);
