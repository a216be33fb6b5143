import { AgentGroup, parse, Session } from '@dovecote/crds';
import { describe, expect, test } from '@jest/globals';
import type { Pod } from '../../kube/resource-types.ts';
import { type Observed, type Plan, plan } from './plan.ts';
import { OWN_KERNEL_RUNTIMES } from './runtime.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const time = (offsetMs = 0) => new Date(NOW + offsetMs).toISOString().replace(/\.\d+Z$/, 'Z');
const metadata = (name: string, uid: string) => ({
  name,
  namespace: 'doves',
  uid,
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: time(),
});

const session = (change: { spec?: object; status?: object; metadata?: object } = {}) =>
  parse(Session, {
    apiVersion: 'dovecote.dev/v1alpha1',
    kind: 'Session',
    metadata: { ...metadata('s', 'session-uid'), ...change.metadata },
    spec: { agentGroupRef: 'helper', agentGroupUid: 'agent-uid', shard: '0', scope: '*', awake: true, ...change.spec },
    ...(change.status && { status: change.status }),
  });
const agentGroup = (change: { spec?: object; status?: object; metadata?: object } = {}) =>
  parse(AgentGroup, {
    apiVersion: 'dovecote.dev/v1alpha1',
    kind: 'AgentGroup',
    metadata: { ...metadata('helper', 'agent-uid'), ...change.metadata },
    spec: { provider: { type: 'demo' }, ...change.spec },
    status: change.status ?? { observedGeneration: 1 },
  });
const condition = (type: string, status: string, reason: string, message = '') => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: time(),
});
const needsKey = { provider: { type: 'anthropic', anthropic: { credentialsRef: { name: 'k' } } } };

const pod = (change: { metadata?: object; status?: object; restarts?: number; owner?: string | null } = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    ...metadata('s', 'pod-uid'),
    annotations: { 'dovecote.dev/restarts': String(change.restarts ?? 0) },
    ...(change.owner !== null && {
      ownerReferences: [{ apiVersion: 'dovecote.dev/v1alpha1', kind: 'Session', name: 's', uid: change.owner ?? 'session-uid' }],
    }),
    ...change.metadata,
  },
  spec: { nodeName: 'node-1', containers: [{ name: 'runner', image: 'x' }] },
  ...(change.status && { status: change.status }),
});
const container = (state: object, more: object = {}) => ({
  containerStatuses: [{ name: 'runner', image: 'x', imageID: '', ready: true, restartCount: 0, state, ...more }],
});
const running = (ranMs = 60_000) => pod({ status: { phase: 'Running', ...container({ running: { startedAt: time(-ranMs) } }) } });
const ending = (graceSeconds: number, sinceMs: number) =>
  pod({ metadata: { deletionTimestamp: time(graceSeconds * 1_000 - sinceMs), deletionGracePeriodSeconds: graceSeconds } });
const failed = (ageMs: number, restarts: number) =>
  pod({
    restarts,
    status: {
      phase: 'Failed',
      ...container({ terminated: { exitCode: 1, reason: 'Error', startedAt: time(-ageMs - 5_000), finishedAt: time(-ageMs) } }),
    },
  });
/** Its runner ended with 78, and `state` is what the kubelet says of the container since. */
const refusing = (state: object, template = 'a', at = -100) => {
  const terminated = { exitCode: 78, reason: 'Error', message: 'no such flag', startedAt: time(at - 500), finishedAt: time(at) };
  const { metadata: made, ...rest } = pod({
    status: { phase: 'Running', ...container(state, { lastState: { terminated }, restartCount: 1 }) },
  });
  return { ...rest, metadata: { ...made, annotations: { ...made.annotations, 'dovecote.dev/template-hash': template } } };
};
const refused = (dueMs: number) =>
  session({
    status: {
      phase: 'Failed',
      podUid: 'earlier',
      lastExit: { reason: 'RunnerRefused', message: 'It refuses: no such flag', exitCode: 78, at: time(-60_000) },
      refused: { template: 'a', tries: 1, retryAt: time(dueMs) },
      conditions: [condition('Ready', 'False', 'RunnerRefused')],
    },
  });
const finishedAgo = (ageMs: number) =>
  pod({
    status: {
      phase: 'Succeeded',
      ...container({ terminated: { exitCode: 0, reason: 'Completed', startedAt: time(-ageMs - 9_000), finishedAt: time(-ageMs) } }),
    },
  });
const finished = finishedAgo(2_000);

interface Case {
  readonly name: string;
  readonly given: Partial<Observed>;
  readonly action: Plan['action'];
  readonly view: Partial<Plan['view']> & Pick<Plan['view'], 'is'>;
}
const nothing = { do: 'nothing' } as const;
const suspended = session({ spec: { suspended: true } });
const asleep = session({ spec: { awake: false } });

const cases: readonly Case[] = [
  { name: 'starts what should be awake', given: {}, action: { do: 'create', restarts: 0 }, view: { is: 'unchanged' } },
  { name: 'leaves asleep what should be', given: { session: asleep }, action: nothing, view: { is: 'asleep' } },
  {
    name: 'leaves a suspended one asleep though it should be awake',
    given: { session: suspended },
    action: nothing,
    view: { is: 'suspended' },
  },
  { name: 'leaves a running Pod alone', given: { pod: running() }, action: nothing, view: { is: 'awake' } },
  { name: 'leaves a Pod that has just been made alone', given: { pod: pod() }, action: nothing, view: { is: 'unchanged' } },
  {
    name: 'calls it waking once it takes long',
    given: { pod: pod({ metadata: { creationTimestamp: time(-3_000) } }) },
    action: nothing,
    view: { is: 'waking' },
  },
  {
    name: 'leaves a Pod alone that is where its delivery is',
    given: { pod: running(), deliveryNodes: ['node-1'] },
    action: nothing,
    view: { is: 'awake' },
  },
  {
    name: 'ends a Pod that is not where its delivery is',
    given: { pod: running(), deliveryNodes: ['node-2'] },
    action: { do: 'delete', because: 'Moved' },
    view: { is: 'unchanged' },
  },
  {
    name: 'leaves a Pod alone while one of two deliveries is where it is',
    given: { pod: running(), deliveryNodes: ['node-2', 'node-1'] },
    action: nothing,
    view: { is: 'awake' },
  },
  {
    name: 'ends the Pod of one that should sleep',
    given: { session: asleep, pod: running() },
    action: { do: 'delete', because: 'Asleep' },
    view: { is: 'unchanged' },
  },
  {
    name: 'ends the Pod of one that is suspended',
    given: { session: suspended, pod: running() },
    action: { do: 'delete', because: 'Asleep' },
    view: { is: 'unchanged' },
  },
  {
    name: 'ends a Pod that has not even started when it should sleep',
    given: { session: asleep, pod: pod() },
    action: { do: 'delete', because: 'Asleep' },
    view: { is: 'unchanged' },
  },
  {
    name: 'replaces a Pod that cannot start once its AgentGroup says something else',
    given: { outdated: true, pod: pod({ status: container({ waiting: { reason: 'ErrImagePull', message: 'no' } }) }) },
    action: { do: 'delete', because: 'Outdated' },
    view: { is: 'failed', reason: 'ImagePull' },
  },
  {
    name: 'keeps a Pod that cannot start while nobody changed anything',
    given: { pod: pod({ status: container({ waiting: { reason: 'ErrImagePull', message: 'no' } }) }) },
    action: nothing,
    view: { is: 'failed', reason: 'ImagePull' },
  },
  {
    name: 'keeps a Pod that works whatever its AgentGroup says now',
    given: { outdated: true, pod: running() },
    action: nothing,
    view: { is: 'awake' },
  },
  {
    name: 'waits quietly for a Pod to end',
    given: { session: asleep, pod: ending(60, 1_000) },
    action: nothing,
    view: { is: 'unchanged' },
  },
  {
    name: 'says that it drains when that takes long',
    given: { session: asleep, pod: ending(60, 6_000) },
    action: nothing,
    view: { is: 'draining' },
  },
  {
    name: 'is still in time at the end of the grace period',
    given: { session: asleep, pod: ending(60, 80_000) },
    action: nothing,
    view: { is: 'draining' },
  },
  {
    name: 'says that the node is lost when the Pod should long be gone',
    given: { session: asleep, pod: ending(60, 91_000) },
    action: nothing,
    view: { is: 'lost' },
  },
  { name: 'starts nothing while the Pod before ends', given: { pod: ending(60, 1_000) }, action: nothing, view: { is: 'unchanged' } },
  { name: 'says that it waits for the Pod before', given: { pod: ending(60, 3_000) }, action: nothing, view: { is: 'waking' } },
  { name: 'starts nothing while a lost Pod may live', given: { pod: ending(60, 3_600_000) }, action: nothing, view: { is: 'lost' } },
  {
    name: 'starts nothing beside a Pod of unknown state',
    given: { pod: pod({ status: { phase: 'Unknown' } }) },
    action: nothing,
    view: { is: 'lost' },
  },
  {
    name: 'ends the Pod of another Session of this name',
    given: { pod: pod({ owner: 'an-older-session' }) },
    action: { do: 'delete', because: 'Foreign' },
    view: { is: 'unchanged' },
  },
  {
    name: 'does not call itself asleep while the Pod of another Session of this name is there',
    given: { session: asleep, pod: pod({ owner: 'an-older-session' }) },
    action: { do: 'delete', because: 'Foreign' },
    view: { is: 'unchanged' },
  },
  {
    name: "leaves a stranger's Pod alone",
    given: { pod: pod({ owner: null }) },
    action: nothing,
    view: { is: 'failed', reason: 'PodFailed' },
  },
  { name: 'replaces a Pod that finished', given: { pod: finished }, action: { do: 'delete', because: 'Ended' }, view: { is: 'unchanged' } },
  {
    name: 'waits a moment whether a Pod that finished was put to sleep',
    given: { pod: finishedAgo(1_000) },
    action: nothing,
    view: { is: 'unchanged' },
  },
  {
    name: 'removes a Pod that finished',
    given: { session: asleep, pod: finished },
    action: { do: 'delete', because: 'Asleep' },
    view: { is: 'unchanged' },
  },
  {
    name: 'replaces a failed Pod at once the first time',
    given: { pod: failed(0, 0) },
    action: { do: 'delete', because: 'Ended' },
    view: { is: 'failed', reason: 'PodFailed' },
  },
  { name: 'replaces a failed Pod later the next time', given: { pod: failed(3_000, 3) }, action: nothing, view: { is: 'failed' } },
  {
    name: 'replaces it once the wait is over',
    given: { pod: failed(1_000, 1) },
    action: { do: 'delete', because: 'Ended' },
    view: { is: 'failed' },
  },
  { name: 'doubles the wait', given: { pod: failed(7_000, 4) }, action: nothing, view: { is: 'failed' } },
  {
    name: 'never waits longer than a minute',
    given: { pod: failed(60_000, 40) },
    action: { do: 'delete', because: 'Ended' },
    view: { is: 'failed' },
  },
  {
    name: 'counts the Pods of one wakefulness',
    given: { session: session({ status: { phase: 'Failed', podUid: 'earlier', restarts: 3 } }) },
    action: { do: 'create', restarts: 4 },
    view: { is: 'unchanged' },
  },
  {
    name: 'counts anew after a sleep',
    given: { session: session({ status: { phase: 'Asleep', restarts: 3 } }) },
    action: { do: 'create', restarts: 0 },
    view: { is: 'unchanged' },
  },
  {
    name: 'starts nothing without an AgentGroup',
    given: { agentGroup: undefined },
    action: nothing,
    view: { is: 'failed', reason: 'ReferenceMissing' },
  },
  {
    name: 'keeps a running Pod whose AgentGroup is not seen',
    given: { agentGroup: undefined, pod: running() },
    action: nothing,
    view: { is: 'awake' },
  },
  {
    name: 'starts nothing for the AgentGroup of another time',
    given: { agentGroup: agentGroup({ metadata: { uid: 'another' } }) },
    action: nothing,
    view: { is: 'failed', reason: 'ReferenceMissing' },
  },
  {
    name: 'starts nothing for an AgentGroup that goes',
    given: { agentGroup: agentGroup({ metadata: { deletionTimestamp: time() } }) },
    action: nothing,
    view: { is: 'failed', reason: 'ReferenceMissing' },
  },
  {
    name: 'waits for the AgentGroup to have its ServiceAccount',
    given: { agentGroup: agentGroup({ status: {} }) },
    action: nothing,
    view: { is: 'unchanged' },
  },
  {
    name: 'waits for the word about credentials',
    given: { agentGroup: agentGroup({ spec: needsKey }) },
    action: nothing,
    view: { is: 'unchanged' },
  },
  {
    name: 'starts nothing without credentials',
    given: {
      agentGroup: agentGroup({
        spec: needsKey,
        status: { observedGeneration: 1, conditions: [condition('CredentialsFound', 'False', 'SecretMissing')] },
      }),
    },
    action: nothing,
    view: { is: 'failed', reason: 'CredentialsMissing' },
  },
  {
    name: 'starts nothing while nobody can say whether there are credentials',
    given: {
      agentGroup: agentGroup({
        spec: needsKey,
        status: { observedGeneration: 1, conditions: [condition('CredentialsFound', 'Unknown', 'Error')] },
      }),
    },
    action: nothing,
    view: { is: 'failed', reason: 'CredentialsMissing' },
  },
  {
    name: 'starts with credentials',
    given: {
      agentGroup: agentGroup({
        spec: needsKey,
        status: { observedGeneration: 1, conditions: [condition('CredentialsFound', 'True', 'Found')] },
      }),
    },
    action: { do: 'create', restarts: 0 },
    view: { is: 'unchanged' },
  },
  ...['gvisor', 'Kata-QEMU', 'my-runsc'].map(
    (runtimeClassName): Case => ({
      name: `refuses runtime class ${runtimeClassName}`,
      given: { agentGroup: agentGroup({ spec: { runtimeClassName: runtimeClassName.toLowerCase() } }) },
      action: nothing,
      view: { is: 'failed', reason: 'RuntimeRefused' },
    }),
  ),
  {
    name: 'takes another runtime class',
    given: { agentGroup: agentGroup({ spec: { runtimeClassName: 'crun' } }) },
    action: { do: 'create', restarts: 0 },
    view: { is: 'unchanged' },
  },
  {
    name: 'first writes down that a runner refuses to run',
    given: { pod: refusing({ waiting: { reason: 'CrashLoopBackOff' } }) },
    action: nothing,
    view: { is: 'failed', reason: 'RunnerRefused' },
  },
  {
    name: 'then ends its Pod, instead of letting it be started there for ever',
    given: { session: refused(240_000), pod: refusing({ waiting: { reason: 'CrashLoopBackOff' } }) },
    action: { do: 'delete', because: 'Refused' },
    view: { is: 'failed', reason: 'RunnerRefused' },
  },
  {
    name: 'ends it when it should sleep, too, for that reason alone',
    given: { session: asleep, pod: refusing({ waiting: { reason: 'CrashLoopBackOff' } }) },
    action: { do: 'delete', because: 'Asleep' },
    view: { is: 'unchanged' },
  },
  {
    name: 'leaves a Pod alone whose runner runs after it refused once, and does not call it healthy yet',
    given: { session: refused(-1_000), pod: refusing({ running: { startedAt: time(-500) } }) },
    action: nothing,
    view: { is: 'recovering' },
  },
  {
    name: 'calls it healthy when it runs on',
    given: { session: refused(-1_000), pod: refusing({ running: { startedAt: time(-10_000) } }, 'a', -11_000) },
    action: nothing,
    view: { is: 'awake' },
  },
  {
    name: 'starts no other Pod of the same making before it is due, and says why and what to do',
    given: { session: refused(240_000), stillRefused: true },
    action: nothing,
    view: {
      is: 'failed',
      reason: 'RunnerRefused',
      message:
        "It refuses: no such flag. Change spec.image of its AgentGroup, or the runner's image, and it is started again at once; with the same " +
        'Pod that is tried at 2026-01-01T12:04:00Z, or when you set spec.suspended of Session s and take it back.',
    },
  },
  {
    name: 'starts it when it is due',
    given: { session: refused(0), stillRefused: true },
    action: { do: 'create', restarts: 1 },
    view: { is: 'unchanged' },
  },
  {
    name: 'starts one of another making at once',
    given: { session: refused(240_000), stillRefused: false },
    action: { do: 'create', restarts: 1 },
    view: { is: 'unchanged' },
  },
  {
    name: 'names what is missing before what was refused',
    given: { session: refused(240_000), stillRefused: true, agentGroup: undefined },
    action: nothing,
    view: { is: 'failed', reason: 'ReferenceMissing' },
  },
  {
    name: 'does not call a runner healthy that has only just been started again',
    given: { session: session({ status: { restarts: 1, conditions: [condition('Ready', 'False', 'OOMKilled')] } }), pod: running(9_000) },
    action: nothing,
    view: { is: 'recovering' },
  },
  {
    name: 'calls it healthy after a while',
    given: { session: session({ status: { restarts: 1, conditions: [condition('Ready', 'False', 'OOMKilled')] } }), pod: running(10_000) },
    action: nothing,
    view: { is: 'awake' },
  },
  {
    name: 'ends the Pod of a Session that goes',
    given: { session: session({ metadata: { deletionTimestamp: time() } }), pod: running() },
    action: { do: 'delete', because: 'Deleted' },
    view: { is: 'unchanged' },
  },
  {
    name: 'starts nothing for a Session that goes',
    given: { session: session({ metadata: { deletionTimestamp: time() } }) },
    action: nothing,
    view: { is: 'unchanged' },
  },
];

describe('plan()', () => {
  test.each(cases)('$name', ({ given, action, view }) => {
    const observed: Observed = {
      session: session(),
      agentGroup: agentGroup(),
      pod: undefined,
      deliveryNodes: [],
      outdated: false,
      stillRefused: false,
      ownKernelRuntimes: OWN_KERNEL_RUNTIMES,
      now: NOW,
      ...given,
    };
    const planned = plan(observed);
    expect(planned.action).toEqual(action);
    expect(planned.view).toMatchObject(view);
  });

  test('looks again whenever it is time that decides, and not that anything happens', () => {
    const base = {
      session: session(),
      agentGroup: agentGroup(),
      deliveryNodes: [],
      outdated: false,
      stillRefused: false,
      ownKernelRuntimes: [],
      now: NOW,
    };
    expect(plan({ ...base, pod: pod() }).resyncMs).toBe(2_000);
    expect(plan({ ...base, pod: failed(3_000, 3) }).resyncMs).toBe(1_000);
    expect(plan({ ...base, pod: ending(60, 1_000) }).resyncMs).toBe(1_000);
    expect(plan({ ...base, session: asleep, pod: ending(60, 1_000) }).resyncMs).toBe(4_000);
    expect(plan({ ...base, pod: running() }).resyncMs).toBeUndefined();
    expect(plan({ ...base, session: asleep, pod: undefined }).resyncMs).toBeUndefined();
    expect(plan({ ...base, session: refused(240_000), stillRefused: true, pod: undefined }).resyncMs).toBe(240_000);
  });

  test('waits twice as long each time that the same Pod is refused, an hour at most, and anew for another', () => {
    const of = (status: object | undefined, template = 'a'): Plan['refused'] =>
      plan({
        session: session(status && { status: { refused: status } }),
        agentGroup: agentGroup(),
        deliveryNodes: [],
        outdated: false,
        stillRefused: true,
        ownKernelRuntimes: [],
        now: NOW,
        pod: refusing({ waiting: { reason: 'CrashLoopBackOff' } }, template),
      }).refused;
    const minutes = (count: number) => time(count * 60_000);
    expect(of(undefined)).toEqual({ template: 'a', tries: 1, retryAt: minutes(5) });
    expect(of({ template: 'a', tries: 1, retryAt: time(-1_000) })).toEqual({ template: 'a', tries: 2, retryAt: minutes(10) });
    expect(of({ template: 'a', tries: 40, retryAt: time(-1_000) })).toEqual({ template: 'a', tries: 41, retryAt: minutes(60) });
    expect(of({ template: 'b', tries: 40, retryAt: minutes(3) })).toEqual({ template: 'a', tries: 1, retryAt: minutes(5) });
    // The same Pod, looked at once more before it is gone.
    expect(of({ template: 'a', tries: 2, retryAt: minutes(9) })).toEqual({ template: 'a', tries: 2, retryAt: minutes(9) });
  });
});
