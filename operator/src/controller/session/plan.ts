/** Everything that is decided about a session's Pod is decided here. Pure: no store, no clock. */
import { type AgentGroup, ConditionType, Reason, type Session } from '@dovecote/crds';
import { findCondition } from '../../kube/conditions.ts';
import type { Pod } from '../../kube/resource-types.ts';
import { type Backoff, backoffMs } from '../../lib/backoff.ts';
import { type Exit, ExitCode } from './exit.ts';
import { templateHashOf } from './pod.ts';
import { earlierPodsOf, type PodState, podStateOf } from './pod-state.ts';
import { storageReport } from './storage.ts';

/** What is known when a pass begins. */
export interface Observed {
  readonly session: Session;
  readonly agentGroup: AgentGroup | undefined;
  readonly pod: Pod | undefined;
  /** Where the delivery of its shard is, or is about to be. */
  readonly deliveryNodes: readonly string[];
  readonly ownKernelRuntimes: readonly string[];
  /** Whether a Pod made now would be another than the one that is there. */
  readonly outdated: boolean;
  /** Whether a Pod made now would be one in which its runner has refused to run. */
  readonly stillRefused: boolean;
  /** ms since 1970 */
  readonly now: number;
}

export type PodAction =
  | { readonly do: 'nothing' }
  /** `restarts`: Pods of this wakefulness that ended before it. */
  | { readonly do: 'create'; readonly restarts: number }
  | { readonly do: 'delete'; readonly because: 'Asleep' | 'Ended' | 'Foreign' | 'Deleted' | 'Moved' | 'Outdated' | 'Refused' };

/** Where the session is after this pass; `status` puts it into words. */
export type View =
  /** On its way, and for too short a time to be worth a write: status stays as it is. */
  | { readonly is: 'unchanged' }
  | { readonly is: 'asleep' }
  | { readonly is: 'suspended' }
  | { readonly is: 'draining' }
  | { readonly is: 'waking'; readonly message: string }
  | { readonly is: 'awake' }
  /** Runs again, and has not yet run long enough to be called healthy: what Ready says stays. */
  | { readonly is: 'recovering' }
  | { readonly is: 'lost'; readonly message: string }
  | { readonly is: 'failed'; readonly reason: string; readonly message: string };

type Refused = NonNullable<NonNullable<Session['status']>['refused']>;

export interface Plan {
  readonly action: PodAction;
  readonly view: View;
  /** How the last runner ended, when this pass learned of it from the Pod as a whole. */
  readonly exit?: Exit;
  /** What its runner refused, when this pass learned of it. */
  readonly refused?: Refused;
  /** Look again after this many ms even if nothing is heard. */
  readonly resyncMs?: number;
}

/** A Pod that runs within this time costs no status write besides Awake. */
const QUIET_WAKE_MS = 2_000;
/** A Pod that is gone within this time costs no status write besides Asleep. */
const QUIET_SLEEP_MS = 5_000;
/** After its grace period: by then a kubelet that answers has killed and reported it. */
const LATE_MS = 30_000;
/** A runner that finished was most often asked to: awake=false is on its way, and a Pod made before it comes would be made in vain. */
const DRAINED_MS = 2_000;
/** A runner that fell is called healthy again after this long, or its condition would flap with every start. */
const SETTLED_MS = 10_000;
/** A runner that worked this long begins to count anew. */
const LONG_RUN_MS = 600_000;
/** Slow check while nothing is heard. */
const PATIENCE_MS = 10_000;
const REPLACE: Backoff = { baseMs: 1_000, maxMs: 60_000 };
/** Nothing that was changed is seen, and yet something may have been: an image behind the same tag, a file of the cell. */
const REFUSED: Backoff = { baseMs: 300_000, maxMs: 3_600_000 };
/** The same for every replacement: plan must be repeatable, and Pods of one session have nobody to collide with. */
const NO_JITTER = { fraction: () => 1, id: () => '' };

const NOTHING: PodAction = { do: 'nothing' };
const UNCHANGED: View = { is: 'unchanged' };
/** It ends, so that the volume can follow delivery, and is made again beside it. */
const MOVE: Plan = { action: { do: 'delete', because: 'Moved' }, view: UNCHANGED, resyncMs: QUIET_WAKE_MS };

export function plan(observed: Observed): Plan {
  const { session, pod, now } = observed;
  const state = podStateOf(pod, session.metadata.uid, now);
  if (session.metadata.deletionTimestamp !== undefined) return planDeleted(state);
  const { awake, suspended } = session.spec;
  return awake && !suspended ? planAwake(observed, state) : planAsleep(state, suspended);
}

/** Someone's finalizer holds the Session: its Pod ends now, so that what is archived stands still. */
function planDeleted(state: PodState): Plan {
  const ends = state.is === 'absent' || state.is === 'ending' || state.is === 'foreign';
  return { action: ends ? NOTHING : { do: 'delete', because: 'Deleted' }, view: UNCHANGED };
}

function planAsleep(state: PodState, suspended: boolean): Plan {
  switch (state.is) {
    case 'absent':
      return { action: NOTHING, view: { is: suspended ? 'suspended' : 'asleep' } };
    case 'foreign':
      return planForeign(state);
    case 'ending':
      if (state.lateMs > LATE_MS) return { action: NOTHING, view: lost(state.node), resyncMs: PATIENCE_MS };
      if (state.sinceMs < QUIET_SLEEP_MS) return { action: NOTHING, view: UNCHANGED, resyncMs: QUIET_SLEEP_MS - state.sinceMs };
      return { action: NOTHING, view: { is: 'draining' }, resyncMs: PATIENCE_MS };
    default:
      return { action: { do: 'delete', because: 'Asleep' }, view: UNCHANGED, resyncMs: QUIET_SLEEP_MS };
  }
}

function planAwake(observed: Observed, state: PodState): Plan {
  switch (state.is) {
    case 'absent': {
      const blocker = blockerOf(observed);
      if (blocker !== undefined) return { action: NOTHING, ...blocker };
      const { refused } = observed.session.status ?? {};
      const waitMs = refused === undefined || !observed.stillRefused ? 0 : Date.parse(refused.retryAt) - observed.now;
      if (refused !== undefined && waitMs > 0) return { action: NOTHING, view: refusedView(observed.session, refused), resyncMs: waitMs };
      return { action: { do: 'create', restarts: replacedSoFar(observed.session) }, view: UNCHANGED, resyncMs: QUIET_WAKE_MS };
    }
    case 'foreign':
      return planForeign(state);
    case 'ending':
      if (state.lateMs > LATE_MS) return { action: NOTHING, view: lost(state.node), resyncMs: PATIENCE_MS };
      if (state.sinceMs < QUIET_WAKE_MS) return { action: NOTHING, view: UNCHANGED, resyncMs: QUIET_WAKE_MS - state.sinceMs };
      return { action: NOTHING, view: { is: 'waking', message: 'It waits for its former Pod to end.' }, resyncMs: PATIENCE_MS };
    case 'ended':
      return planEnded(observed, state);
    case 'refused':
      return planRefused(observed, state.exit);
    case 'starting':
      return isElsewhere(observed) ? MOVE : planStarting(observed, state);
    case 'running':
      return isElsewhere(observed) ? MOVE : planRunning(observed.session, state.ranMs);
    case 'lost':
      return { action: NOTHING, view: lost(state.node), resyncMs: PATIENCE_MS };
  }
}

/**
 * On another node than the delivery of its shard: the volume cannot leave while this Pod uses it, and with a volume that can be on both
 * the two would share a cell's files without sharing their locks.
 */
function isElsewhere({ pod, deliveryNodes }: Observed): boolean {
  const node = pod?.spec?.nodeName;
  return node !== undefined && deliveryNodes.length > 0 && !deliveryNodes.includes(node);
}

/** Same name, other Session: the Pod of one that was deleted and made again. Its cell is ours, so it must be gone before anything starts. */
function planForeign({ ending, ours }: Extract<PodState, { is: 'foreign' }>): Plan {
  if (ours) return { action: ending ? NOTHING : { do: 'delete', because: 'Foreign' }, view: UNCHANGED, resyncMs: PATIENCE_MS };
  // Not made by us: not ours to remove.
  const message = 'Another Pod has the name of this Session and belongs to no Session. Remove it; the Session goes on by itself.';
  return { action: NOTHING, view: { is: 'failed', reason: Reason.PodFailed, message }, resyncMs: PATIENCE_MS };
}

function planEnded({ pod }: Observed, { exit, ageMs, ranMs }: Extract<PodState, { is: 'ended' }>): Plan {
  // The finished Pod stays until its successor is due: so the wait outlives a restart of the controller.
  const earlier = pod === undefined || ranMs >= LONG_RUN_MS ? 0 : earlierPodsOf(pod);
  const drained = exit.exitCode === ExitCode.drained;
  const waitMs = Math.max(earlier === 0 ? 0 : backoffMs(earlier, REPLACE, NO_JITTER), drained ? DRAINED_MS : 0);
  const action: PodAction = ageMs >= waitMs ? { do: 'delete', because: 'Ended' } : NOTHING;
  const resyncMs = ageMs >= waitMs ? PATIENCE_MS : waitMs - ageMs;
  if (drained) return { action, view: UNCHANGED, resyncMs };
  const reason = exit.reason in Reason ? exit.reason : Reason.PodFailed;
  return { action, view: { is: 'failed', reason, message: exit.message }, exit, resyncMs };
}

/** Its Pod goes, or the kubelet would start the runner again for ever: the next one is made when it would be another, or is due. */
function planRefused({ session, pod, now }: Observed, exit: Exit): Plan {
  const template = (pod && templateHashOf(pod)) ?? 'unknown';
  const before = session.status?.refused;
  const known = before?.template === template ? before : undefined;
  const tries = (known?.tries ?? 0) + 1;
  // Before it is due no other Pod like it is made: the status is about this one. Only then it goes, or one that could not be
  // written would let the next be made at once.
  const written = known !== undefined && Date.parse(known.retryAt) > now;
  const refused = written ? known : { template, tries, retryAt: wholeSeconds(now + backoffMs(tries, REFUSED, NO_JITTER)) };
  const action: PodAction = written ? { do: 'delete', because: 'Refused' } : NOTHING;
  return { action, view: refusedView(session, refused, exit.message), exit, refused, resyncMs: written ? PATIENCE_MS : 0 };
}

function refusedView(
  { metadata, status }: Session,
  { retryAt }: Refused,
  said = status?.lastExit?.message ?? 'The runner refuses to run',
): View {
  const message =
    `${said.replace(/[. ]+$/, '')}. Change spec.image of its AgentGroup, or the runner's image, and it is started again at once; with the same ` +
    `Pod that is tried at ${retryAt}, or when you set spec.suspended of Session ${metadata.name} and take it back.`;
  return { is: 'failed', reason: Reason.RunnerRefused, message };
}

const wholeSeconds = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

function planStarting({ session, outdated }: Observed, { ageMs, trouble, crashed }: Extract<PodState, { is: 'starting' }>): Plan {
  // A scheduler that has not yet seen the Pod of delivery calls the first attempt unschedulable.
  if (trouble !== undefined && (trouble.reason !== Reason.Unschedulable || ageMs >= QUIET_WAKE_MS)) {
    const said = findCondition(session.status?.conditions, ConditionType.Ready);
    const message = trouble.vague === true && said?.reason === trouble.reason ? said.message : trouble.message;
    // What someone corrected in the AgentGroup can only help a new Pod. One that works keeps what it was made of until its next wake.
    const action: PodAction = outdated ? { do: 'delete', because: 'Outdated' } : NOTHING;
    return { action, view: { is: 'failed', reason: trouble.reason, message } };
  }
  // It fell and is started again at once: the next that is heard is running, or that the start waits.
  if (crashed) return { action: NOTHING, view: UNCHANGED, resyncMs: PATIENCE_MS };
  if (ageMs < QUIET_WAKE_MS) return { action: NOTHING, view: UNCHANGED, resyncMs: QUIET_WAKE_MS - ageMs };
  return { action: NOTHING, view: { is: 'waking', message: 'Its Pod is being started.' } };
}

function planRunning(session: Session, ranMs: number): Plan {
  const { restarts = 0, refused } = session.status ?? {};
  const fell = restarts > 0 || refused !== undefined;
  const ready = findCondition(session.status?.conditions, ConditionType.Ready);
  if (fell && ready?.status === 'False' && ranMs < SETTLED_MS) {
    return { action: NOTHING, view: { is: 'recovering' }, resyncMs: SETTLED_MS - ranMs };
  }
  return { action: NOTHING, view: { is: 'awake' } };
}

/** Why no Pod may be started, and when to look again. What it waits for is watched, so mostly an event is what wakes it. */
function blockerOf({ session, agentGroup, ownKernelRuntimes }: Observed): Pick<Plan, 'view' | 'resyncMs'> | undefined {
  const failed = (reason: string, message: string) => ({ view: { is: 'failed', reason, message } as const });
  const { agentGroupRef, agentGroupUid } = session.spec;
  if (agentGroup === undefined) {
    return failed(Reason.ReferenceMissing, `AgentGroup ${agentGroupRef} does not exist. Create it, and the Session goes on by itself.`);
  }
  if (agentGroup.metadata.uid !== agentGroupUid) {
    return failed(Reason.ReferenceMissing, `AgentGroup ${agentGroupRef} was made anew; this Session belongs to the one before it.`);
  }
  if (agentGroup.metadata.deletionTimestamp !== undefined) {
    return failed(Reason.ReferenceMissing, `AgentGroup ${agentGroupRef} is being deleted.`);
  }
  const storage = storageReport(session);
  if (storage?.reason === Reason.CellMissing) {
    // The kubelet would make the missing folders, and the conversation would begin anew without a word.
    return failed(Reason.CellMissing, storage.message);
  }
  const { runtimeClassName } = agentGroup.spec;
  if (runtimeClassName !== undefined && ownKernelRuntimes.some((part) => runtimeClassName.toLowerCase().includes(part))) {
    return failed(
      Reason.RuntimeRefused,
      `Runtime class ${runtimeClassName} has a kernel of its own, and SQLite's locks do not hold between two kernels. Choose one that shares the node's kernel.`,
    );
  }
  const credentials = findCondition(agentGroup.status?.conditions, ConditionType.CredentialsFound);
  if (credentials !== undefined && credentials.status !== 'True') {
    return failed(Reason.CredentialsMissing, `AgentGroup ${agentGroupRef} has no credentials for its provider: ${credentials.message}`);
  }
  const needsCredentials = agentGroup.spec.provider.type !== 'demo';
  // Its ServiceAccount is made before its status is written: without it the API server refuses the Pod.
  if (agentGroup.status?.observedGeneration === undefined || (needsCredentials && credentials === undefined)) {
    return { view: UNCHANGED, resyncMs: PATIENCE_MS };
  }
  return undefined;
}

/** 0 for a wake; one more than before when a Pod of this wakefulness has ended. */
function replacedSoFar({ status }: Session): number {
  const asleep = status?.phase === undefined || status.phase === 'Asleep' || status.phase === 'Suspended';
  return asleep || status.podUid === undefined ? 0 : (status.restarts ?? 0) + 1;
}

function lost(node: string | undefined): View {
  const on = node === undefined ? 'The node of its Pod' : `Node ${node}`;
  return {
    is: 'lost',
    message:
      `${on} does not answer, so it cannot be known whether its Pod still runs, and no second one is started. ` +
      'If the node is gone for good, delete the Node object (or taint it node.kubernetes.io/out-of-service) and the Session goes on by itself.',
  };
}
