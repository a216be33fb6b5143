import { Counter, type Registry } from 'prom-client';

/** What the reconcilers do to the cluster; queues and reconciliations are counted by the machinery under controller-runtime's names. */
export function createControllerMetrics(registry: Registry) {
  const registers = [registry];
  return {
    podsCreated: new Counter({ name: 'dovecote_controller_pods_created_total', help: 'Pods of sessions created.', registers }),
    podsDeleted: new Counter({
      name: 'dovecote_controller_pods_deleted_total',
      help: 'Pods of sessions deleted, per cause: Asleep, Ended, Foreign, Deleted, Moved, Outdated, Refused.',
      labelNames: ['because'],
      registers,
    }),
    podsRefused: new Counter({
      name: 'dovecote_controller_pods_refused_total',
      help: 'Pods of sessions that the cluster refused.',
      registers,
    }),
    failures: new Counter({
      name: 'dovecote_controller_failures_total',
      help: 'Objects that became not Ready, per kind and reason.',
      labelNames: ['kind', 'reason'],
      registers,
    }),
  };
}

export type ControllerMetrics = ReturnType<typeof createControllerMetrics>;
