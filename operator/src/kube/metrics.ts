import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * What the machinery of this folder counts. Names and labels of queue and controller are those of controller-runtime, so that
 * dashboards and alerts written for it work. Made once per registry, by the composition root.
 */
export function createKubeMetrics(registry: Registry) {
  const registers = [registry];
  /** Asked when someone looks: an age that is only written at events would stand still exactly when a watch is dead. */
  const eventAges = new Map<string, () => number>();
  return {
    eventAges,
    reconciles: new Counter({
      name: 'controller_runtime_reconcile_total',
      help: 'Reconciliations per controller and result: success, requeue_after, error, terminal_error.',
      labelNames: ['controller', 'result'],
      registers,
    }),
    reconcileErrors: new Counter({
      name: 'controller_runtime_reconcile_errors_total',
      help: 'Reconciliations that failed, per controller.',
      labelNames: ['controller'],
      registers,
    }),
    terminalErrors: new Counter({
      name: 'controller_runtime_terminal_reconcile_errors_total',
      help: 'Reconciliations that failed and are not retried, per controller.',
      labelNames: ['controller'],
      registers,
    }),
    reconcileSeconds: new Histogram({
      name: 'controller_runtime_reconcile_time_seconds',
      help: 'How long a reconciliation takes.',
      labelNames: ['controller'],
      buckets: SECONDS,
      registers,
    }),
    activeWorkers: new Gauge({
      name: 'controller_runtime_active_workers',
      help: 'Reconciliations under way.',
      labelNames: ['controller'],
      registers,
    }),
    maxWorkers: new Gauge({
      name: 'controller_runtime_max_concurrent_reconciles',
      help: 'Reconciliations allowed at once.',
      labelNames: ['controller'],
      registers,
    }),
    queueDepth: new Gauge({ name: 'workqueue_depth', help: 'Keys ready to be taken.', labelNames: ['name'], registers }),
    queueAdds: new Counter({ name: 'workqueue_adds_total', help: 'Keys added.', labelNames: ['name'], registers }),
    queueRetries: new Counter({ name: 'workqueue_retries_total', help: 'Keys added again with backoff.', labelNames: ['name'], registers }),
    queueSeconds: new Histogram({
      name: 'workqueue_queue_duration_seconds',
      help: 'How long a key is ready before it is taken.',
      labelNames: ['name'],
      buckets: SECONDS,
      registers,
    }),
    workSeconds: new Histogram({
      name: 'workqueue_work_duration_seconds',
      help: 'How long a key is worked on.',
      labelNames: ['name'],
      buckets: SECONDS,
      registers,
    }),
    lists: new Counter({
      name: 'dovecote_reflector_lists_total',
      help: 'Lists per kind and result: ok, error.',
      labelNames: ['kind', 'result'],
      registers,
    }),
    watchEnds: new Counter({
      name: 'dovecote_reflector_watch_ends_total',
      help: 'Ended watches per kind and why: closed, gone, silent, error.',
      labelNames: ['kind', 'why'],
      registers,
    }),
    invalidObjects: new Counter({
      name: 'dovecote_reflector_invalid_objects_total',
      help: 'Objects seen that could not be read, per kind.',
      labelNames: ['kind'],
      registers,
    }),
    lastEventAge: new Gauge({
      name: 'dovecote_reflector_last_event_age_seconds',
      help: 'Since the last list, event or bookmark; -1 before the first. A watch in health has one each minute.',
      labelNames: ['kind'],
      registers,
      collect() {
        for (const [kind, ageMs] of eventAges) this.set({ kind }, Number.isFinite(ageMs()) ? ageMs() / 1_000 : -1);
      },
    }),
    droppedEvents: new Counter({
      name: 'dovecote_events_dropped_total',
      help: 'Kubernetes Events not written, per cause: queue, rate, error.',
      labelNames: ['cause'],
      registers,
    }),
    leader: new Gauge({
      name: 'leader_election_master_status',
      help: '1 while this process holds the Lease.',
      labelNames: ['name'],
      registers,
    }),
  };
}

export type KubeMetrics = ReturnType<typeof createKubeMetrics>;
