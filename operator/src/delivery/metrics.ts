import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What delivery counts, besides its outbox. Made once per registry. */
export function createDeliveryMetrics(registry: Registry) {
  const registers = [registry];
  return {
    events: new Counter({
      name: 'dovecote_inbox_events_total',
      help: 'Events that reached the inbox, by outcome: stored, duplicate, not-engaged; of buttons also answered (before) and unknown.',
      labelNames: ['outcome'] as const,
      registers,
    }),
    enqueueSeconds: new Histogram({
      name: 'dovecote_inbox_enqueue_seconds',
      help: 'From the arrival of an event to the answer, its row being durable.',
      buckets: SECONDS,
      registers,
    }),
    awake: new Gauge({ name: 'dovecote_wake_awake_sessions', help: 'Sessions that have, or are to have, a Pod.', registers }),
    queued: new Gauge({ name: 'dovecote_wake_queued_sessions', help: 'Sessions that wait for a place.', registers }),
    wakeSeconds: new Histogram({
      name: 'dovecote_wake_seconds',
      help: 'From the decision to wake a session to the attach of its runner.',
      buckets: SECONDS,
      registers,
    }),
    attached: new Gauge({ name: 'dovecote_attach_streams', help: 'Runners that are attached.', registers }),
    failures: new Counter({
      name: 'dovecote_delivery_work_failures_total',
      help: 'Failures of background work on single sessions, by work. Each is tried again.',
      labelNames: ['work'] as const,
      registers,
    }),
    containerCalls: new Counter({
      name: 'dovecote_container_calls_total',
      help: 'Calls for files and commands of sessions, by method, by where they were served (pod, volume) and by gRPC status.',
      labelNames: ['method', 'where', 'code'] as const,
      registers,
    }),
    containerEvictions: new Counter({
      name: 'dovecote_container_evictions_total',
      help: 'Connections to runners that were given up because they did not come about.',
      registers,
    }),
    freeBytes: new Gauge({ name: 'dovecote_storage_free_bytes', help: 'Free space of the volume of the shard.', registers }),
    full: new Gauge({ name: 'dovecote_storage_full', help: '1 while the volume is full and new events are refused.', registers }),
    admissions: new Counter({
      name: 'dovecote_usage_admissions_total',
      help: 'Model requests that asked for their part of a budget, by outcome: admitted, begun (sent before its row was written), exhausted.',
      labelNames: ['outcome'] as const,
      registers,
    }),
    previews: new Counter({
      name: 'dovecote_previews_total',
      help: 'Answers shown while they are written, by outcome of the call: shown, changed, removed, settled (after a crash), failed.',
      labelNames: ['outcome'] as const,
      registers,
    }),
    searchSeconds: new Histogram({
      name: 'dovecote_search_seconds',
      help: 'From the arrival of a search to its answer.',
      buckets: SECONDS,
      registers,
    }),
    searchLag: new Gauge({
      name: 'dovecote_search_unread_sessions',
      help: 'Sessions in which something was said that cannot be found yet.',
      registers,
    }),
    sweepSeconds: new Histogram({
      name: 'dovecote_sweep_seconds',
      help: 'How long a look at every cell takes.',
      buckets: SECONDS,
      registers,
    }),
    cells: new Gauge({ name: 'dovecote_storage_cells', help: 'Cells on the volume.', registers }),
  };
}
export type DeliveryMetrics = ReturnType<typeof createDeliveryMetrics>;
