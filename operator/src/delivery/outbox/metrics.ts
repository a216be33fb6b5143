import { Counter, Histogram, type Registry } from 'prom-client';

export interface OutboxMetrics {
  /** by outcome: delivered, part, retry, in_doubt, settled, dead */
  readonly outcomes: Counter<'outcome'>;
  readonly rows: Counter<'kind'>;
  readonly faults: Counter;
  /** of one call to the gateway */
  readonly callSeconds: Histogram<'call'>;
  /** from the row's entry in the ledger until it is delivered */
  readonly deliverySeconds: Histogram;
}

const BUCKETS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600];

export function createOutboxMetrics(registry: Registry): OutboxMetrics {
  const registers = [registry];
  return {
    outcomes: new Counter({
      name: 'dovecote_outbox_outcomes_total',
      help: 'What became of delivery attempts: delivered, part, retry, in_doubt, dead.',
      labelNames: ['outcome'],
      registers,
    }),
    rows: new Counter({
      name: 'dovecote_outbox_rows_total',
      help: 'Rows taken from outbound files, by kind.',
      labelNames: ['kind'],
      registers,
    }),
    faults: new Counter({
      name: 'dovecote_outbox_faults_total',
      help: 'Outbound files that were not read because they are at fault.',
      registers,
    }),
    callSeconds: new Histogram({
      name: 'dovecote_outbox_call_seconds',
      help: 'One call to the gateway: deliver, file or settle.',
      labelNames: ['call'],
      buckets: BUCKETS,
      registers,
    }),
    deliverySeconds: new Histogram({
      name: 'dovecote_outbox_delivery_seconds',
      help: 'From taking a row until it is delivered whole.',
      buckets: BUCKETS,
      registers,
    }),
  };
}
