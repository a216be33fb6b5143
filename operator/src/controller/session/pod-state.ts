/** What a Pod's status means for its session. Pure: the one place that reads a Pod's status. */
import { Reason } from '@dovecote/crds';
import type { Pod } from '../../kube/resource-types.ts';
import { Annotation } from '../labels.ts';
import { clip, type Exit, ExitCode, exitOf, memoryLimitOf, podExitOf } from './exit.ts';

/** Why a Pod does not run although it should, as a reason of a condition. */
export interface Trouble {
  readonly reason: string;
  readonly message: string;
  /** It says less than what was said for the same reason before: that stays. */
  readonly vague?: boolean;
}

export type PodState =
  | { readonly is: 'absent' }
  /** Of this name, but not made for this Session: its cell may still be in use by it. */
  | { readonly is: 'foreign'; readonly ending: boolean; readonly ours: boolean }
  /** `sinceMs`: how long ago its deletion was asked for; `lateMs`: how long ago it should have been gone, negative while in time. */
  | { readonly is: 'ending'; readonly sinceMs: number; readonly lateMs: number; readonly node: string | undefined }
  /** Over: nothing of it runs any more. `ageMs`: since then; `ranMs`: how long its runner had run. */
  | { readonly is: 'ended'; readonly exit: Exit; readonly ageMs: number; readonly ranMs: number }
  /** Its runner said that it cannot run in this Pod: starting it there again changes nothing. */
  | { readonly is: 'refused'; readonly exit: Exit }
  /** Not running (yet). `crashed`: it ran, fell, and the next start waits. */
  | { readonly is: 'starting'; readonly ageMs: number; readonly trouble?: Trouble; readonly crashed: boolean }
  | { readonly is: 'running'; readonly ranMs: number }
  /** Its node does not answer: whether it runs, nobody can say. */
  | { readonly is: 'lost'; readonly node: string | undefined };

/** Of a container that waits: reasons about its image. */
const IMAGE_REASONS = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'RegistryUnavailable',
  'ImageInspectError',
]);
/** Of a container that waits: on its way. */
const HARMLESS_REASONS = new Set(['ContainerCreating', 'PodInitializing']);

export function podStateOf(pod: Pod | undefined, sessionUid: string, now: number): PodState {
  if (pod === undefined) return { is: 'absent' };
  const { metadata, spec, status } = pod;
  const node = spec?.nodeName;
  const owner = metadata.ownerReferences?.find(({ kind }) => kind === 'Session');
  if (owner?.uid !== sessionUid) {
    return { is: 'foreign', ending: metadata.deletionTimestamp !== undefined, ours: owner !== undefined };
  }
  if (metadata.deletionTimestamp !== undefined) {
    // deletionTimestamp is when it should be gone, not when someone asked for it.
    const lateMs = now - Date.parse(metadata.deletionTimestamp);
    return { is: 'ending', sinceMs: lateMs + (metadata.deletionGracePeriodSeconds ?? 0) * 1_000, lateMs, node };
  }
  const ageMs = now - Date.parse(metadata.creationTimestamp);
  const container = status?.containerStatuses?.[0];
  const exit = podExitOf(pod, now);
  const last = exit ?? (container?.state?.running === undefined ? lastExitIn(pod, now) : undefined);
  if (last?.exitCode === ExitCode.refused) return { is: 'refused', exit: last };
  if (exit !== undefined) return { is: 'ended', exit, ageMs: now - Date.parse(exit.at), ranMs: ranMsOf(pod) };
  if (status?.phase === 'Unknown' || nodeIsSilent(pod)) return { is: 'lost', node };
  if (container?.state?.running !== undefined) {
    return { is: 'running', ranMs: now - Date.parse(container.state.running.startedAt ?? metadata.creationTimestamp) };
  }
  const waiting = container?.state?.waiting;
  if (waiting?.reason === 'CrashLoopBackOff') return { is: 'starting', ageMs, crashed: true, trouble: crashTrouble(pod) };
  const trouble = startTrouble(pod);
  return { is: 'starting', ageMs, crashed: container?.state?.terminated !== undefined, ...(trouble !== undefined && { trouble }) };
}

/** How its runner ended last, if it ended in this Pod. */
export function lastExitIn(pod: Pod | undefined, now: number): Exit | undefined {
  if (pod === undefined) return undefined;
  const whole = podExitOf(pod, now);
  if (whole !== undefined) return whole;
  const container = pod.status?.containerStatuses?.[0];
  const ended = container?.state?.terminated ?? container?.lastState?.terminated;
  return ended === undefined ? undefined : exitOf(ended, memoryLimitOf(pod));
}

/** How often a runner was started again in this wakefulness: in Pods before this one, and in it. */
export function restartsOf(pod: Pod): number {
  return earlierPodsOf(pod) + (pod.status?.containerStatuses?.[0]?.restartCount ?? 0);
}

export function earlierPodsOf(pod: Pod): number {
  const count = Number(pod.metadata.annotations?.[Annotation.restarts] ?? 0);
  return Number.isInteger(count) && count > 0 ? count : 0;
}

function crashTrouble(pod: Pod): Trouble {
  const ended = pod.status?.containerStatuses?.[0]?.lastState?.terminated;
  if (ended === undefined)
    return { reason: Reason.CrashLooping, message: 'The runner ends each time it is started; the next start waits.' };
  const exit = exitOf(ended, memoryLimitOf(pod));
  const known: readonly string[] = [Reason.OOMKilled, Reason.DiskFull];
  return known.includes(exit.reason)
    ? { reason: exit.reason, message: exit.message }
    : { reason: Reason.CrashLooping, message: `${exit.message}. It fails each time it is started; the next start waits.` };
}

function startTrouble(pod: Pod): Trouble | undefined {
  const waiting = pod.status?.containerStatuses?.[0]?.state?.waiting;
  if (waiting?.reason !== undefined && IMAGE_REASONS.has(waiting.reason)) {
    const image = pod.spec?.containers[0]?.image ?? 'unknown';
    const message = clip(`The image ${image} cannot be had: ${waiting.message ?? waiting.reason}`, 1_000);
    // The kubelet says the two in turns; following it would be a write each time.
    return { reason: Reason.ImagePull, message, vague: waiting.reason === 'ImagePullBackOff' };
  }
  if (waiting?.reason !== undefined && !HARMLESS_REASONS.has(waiting.reason)) {
    return {
      reason: Reason.PodFailed,
      message: clip(`The Pod cannot be started (${waiting.reason}): ${waiting.message ?? 'no reason given'}`, 1_000),
    };
  }
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False' && scheduled.reason === 'Unschedulable') {
    const why = (scheduled.message ?? 'no reason given').replace(/[. ]+$/, '');
    return {
      reason: Reason.Unschedulable,
      message: clip(
        `No node can take the Pod: ${why}. It must run on the node of its shard's delivery Pod, which needs room for it.`,
        1_000,
      ),
    };
  }
  return undefined;
}

/**
 * The kubelet says Ready=False and ContainersReady=False together. Ready=False alone was written by the cluster for a kubelet that
 * no longer answers: nothing in our Pod holds Ready back but the running of its container.
 */
function nodeIsSilent(pod: Pod): boolean {
  const condition = (of: string) => pod.status?.conditions?.find(({ type }) => type === of)?.status;
  return condition('Ready') === 'False' && condition('ContainersReady') === 'True';
}

function ranMsOf(pod: Pod): number {
  const ended = pod.status?.containerStatuses?.[0]?.state?.terminated;
  if (ended?.startedAt === undefined || ended.finishedAt === undefined) return 0;
  return Date.parse(ended.finishedAt) - Date.parse(ended.startedAt);
}
