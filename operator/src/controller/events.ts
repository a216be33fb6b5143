import type { Condition } from '@dovecote/crds';
import { findCondition } from '../kube/conditions.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { KubeObject } from '../kube/store.ts';
import type { ControllerMetrics } from './metrics.ts';

/** An object of ours before or after a write of its status. */
export type Reported = KubeObject & { readonly status?: { readonly conditions?: readonly Condition[] | undefined } | undefined };

/** Tells people of a transition of condition `type` to or from failure, if the write made one. */
export type ReportEvent = (before: Reported, after: Reported, type: string) => void;

/** Waking and sleeping make no Event: they are what sessions do all day. Failing, failing for another reason, and being well again do. */
export function reportTo(recorder: Pick<EventRecorder, 'record'>, metrics: ControllerMetrics): ReportEvent {
  return (before, after, type) => {
    const was = findCondition(before.status?.conditions, type);
    const is = findCondition(after.status?.conditions, type);
    if (is?.status === 'False') {
      if (was?.status === 'False' && was.reason === is.reason) return;
      metrics.failures.inc({ kind: after.kind, reason: is.reason });
      recorder.record({ regarding: after, type: 'Warning', reason: is.reason, action: 'Reconcile', note: is.message });
    } else if (was?.status === 'False' && is?.status === 'True') {
      recorder.record({
        regarding: after,
        type: 'Normal',
        reason: is.reason,
        action: 'Reconcile',
        note: `Healed (${was.reason}): ${is.message}`,
      });
    }
  };
}
