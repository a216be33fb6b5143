/** Session.status in one place, from what a pass found and decided. Pure. */
import { ConditionType, Reason, type SessionStatus } from '@dovecote/crds';
import { type Draft, withConditions } from '../conditions.ts';
import { clip, type Exit, ExitCode } from './exit.ts';
import type { Observed, Plan, View } from './plan.ts';
import { lastExitIn, restartsOf } from './pod-state.ts';
import { storageReport } from './storage.ts';

type Words = Pick<Draft, 'status' | 'reason' | 'message'>;

/** These were about a Pod that could not be asked for: once it is, they are no longer true. */
const BLOCKERS: ReadonlySet<string> = new Set([
  Reason.ReferenceMissing,
  Reason.CredentialsMissing,
  Reason.RuntimeRefused,
  Reason.CellMissing,
]);

/** undefined: it stays as it is. `pod` is the Pod after the plan was carried out. */
export function statusOf(
  { session, now }: Observed,
  { view, exit, refused: learned }: Plan,
  pod: Observed['pod'],
): SessionStatus | undefined {
  if (view.is === 'unchanged') return undefined;
  const before = session.status;
  const rests = view.is === 'asleep' || view.is === 'suspended';
  const own = pod?.metadata.ownerReferences?.some(({ uid }) => uid === session.metadata.uid) ? pod : undefined;
  const lastExit = rests ? undefined : latest(exit, lastExitIn(own, now), before?.lastExit);
  const restarts = rests ? 0 : own === undefined ? (before?.restarts ?? 0) : restartsOf(own);
  // A runner that works refuses nothing any more; until that is sure, how often it refused is not forgotten.
  const refused = rests || view.is === 'awake' ? undefined : (learned ?? before?.refused);
  const podUid = rests ? undefined : (own?.metadata.uid ?? before?.podUid);
  return withConditions(
    {
      phase: phaseOf(view),
      ...(podUid !== undefined && { podName: session.metadata.name, podUid }),
      ...(restarts > 0 && { restarts }),
      ...(lastExit !== undefined && { lastExit }),
      ...(refused !== undefined && { refused }),
    },
    conditionsOf(session, view),
    { before, generation: session.metadata.generation, now },
  );
}

function phaseOf(view: Exclude<View, { is: 'unchanged' }>): NonNullable<SessionStatus['phase']> {
  switch (view.is) {
    case 'asleep':
      return 'Asleep';
    case 'suspended':
      return 'Suspended';
    case 'draining':
      return 'Draining';
    case 'waking':
      return 'Waking';
    case 'awake':
    case 'recovering':
      return 'Awake';
    case 'lost':
    case 'failed':
      return 'Failed';
  }
}

function conditionsOf(session: Observed['session'], view: Exclude<View, { is: 'unchanged' }>): Draft[] {
  const [ready, active] = wordsOf(session, view);
  const storage = storageReport(session);
  const storageFails = storage !== undefined && !storage.ok;
  // A Pod that fails says more about what to do than the disk that it fails on.
  const summary: Words =
    storageFails && ready.status !== 'False' ? { status: 'False', reason: storage.reason, message: storage.message } : ready;
  return [
    { type: ConditionType.Ready, ...summary },
    { type: ConditionType.Active, ...active },
    ...(storage === undefined
      ? []
      : [
          {
            type: ConditionType.StorageOk,
            status: storage.ok ? ('True' as const) : ('False' as const),
            reason: storage.reason,
            message: storage.message,
          },
        ]),
  ];
}

function wordsOf(session: Observed['session'], view: Exclude<View, { is: 'unchanged' }>): [ready: Words, active: Words] {
  switch (view.is) {
    case 'asleep': {
      const words = { reason: Reason.Asleep, message: 'Asleep; a message wakes it.' };
      return [
        { status: 'True', ...words },
        { status: 'False', ...words },
      ];
    }
    case 'suspended': {
      const words = { reason: Reason.Suspended, message: 'Kept asleep by spec.suspended; messages wait.' };
      return [
        { status: 'True', ...words },
        { status: 'False', ...words },
      ];
    }
    case 'awake': {
      const words = { status: 'True', reason: Reason.Awake, message: 'Its Pod runs.' } as const;
      return [words, words];
    }
    case 'recovering':
      return [keptReady(session), { status: 'True', reason: Reason.Awake, message: 'Its Pod runs again.' }];
    case 'draining':
      return [keptReady(session), { status: 'Unknown', reason: Reason.Draining, message: 'Its Pod is being ended.' }];
    case 'waking':
      return [keptReady(session), { status: 'Unknown', reason: Reason.Waking, message: view.message }];
    case 'lost': {
      const words = { reason: Reason.NodeLost, message: view.message };
      return [
        { status: 'False', ...words },
        { status: 'Unknown', ...words },
      ];
    }
    case 'failed': {
      const words = { status: 'False', reason: view.reason, message: clip(view.message, 4_000) } as const;
      return [words, words];
    }
  }
}

/** Ready as it was: waking and draining are neither health nor failure. */
function keptReady({ status }: Observed['session']): Words {
  const ready = status?.conditions?.find(({ type }) => type === ConditionType.Ready);
  if (ready === undefined || (ready.status === 'False' && BLOCKERS.has(ready.reason))) {
    return { status: 'Unknown', reason: Reason.Progressing, message: 'Its first Pod is being started.' };
  }
  return { status: ready.status, reason: ready.reason, message: ready.message };
}

/** A runner that was asked to end has nothing to report. */
function latest(...exits: readonly (Exit | SessionStatus['lastExit'])[]): SessionStatus['lastExit'] {
  return exits
    .filter((exit) => exit !== undefined && exit.exitCode !== ExitCode.drained)
    .sort((a, b) => Date.parse(b?.at ?? '') - Date.parse(a?.at ?? ''))[0];
}
