import { Counter, Histogram, type Registry } from 'prom-client';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export interface GatewayMetrics {
  readonly webhooks: Counter<'channel' | 'outcome'>;
  readonly acknowledgeSeconds: Histogram<'channel'>;
  readonly decisions: Counter<'channel' | 'decision' | 'reason'>;
  readonly inboxSeconds: Histogram<'call'>;
  readonly attachments: Counter<'channel' | 'outcome'>;
  readonly ownMessages: Counter<'channel'>;
  readonly platformCalls: Counter<'channel' | 'kind' | 'outcome'>;
  readonly platformSeconds: Histogram<'channel'>;
}

export function gatewayMetrics(registry: Registry): GatewayMetrics {
  const registers = [registry];
  return {
    webhooks: new Counter({
      name: 'dovecote_gateway_webhooks_total',
      help: 'Webhook calls by what became of them. An unknown channel is counted as channel "".',
      labelNames: ['channel', 'outcome'],
      registers,
    }),
    acknowledgeSeconds: new Histogram({
      name: 'dovecote_gateway_acknowledge_seconds',
      help: 'From the first byte of a webhook call to its answer, for those that were stored.',
      labelNames: ['channel'],
      buckets: SECONDS,
      registers,
    }),
    decisions: new Counter({
      name: 'dovecote_gateway_decisions_total',
      help: 'Routing decisions that were made durable.',
      labelNames: ['channel', 'decision', 'reason'],
      registers,
    }),
    inboxSeconds: new Histogram({
      name: 'dovecote_gateway_inbox_seconds',
      help: 'Calls to delivery, retries apart.',
      labelNames: ['call'],
      buckets: SECONDS,
      registers,
    }),
    attachments: new Counter({
      name: 'dovecote_gateway_attachments_total',
      help: 'Attachments of incoming messages: taken, refused (limits) or failed (the platform did not give them).',
      labelNames: ['channel', 'outcome'],
      registers,
    }),
    ownMessages: new Counter({
      name: 'dovecote_gateway_own_messages_total',
      help: 'Messages of our own account that the platform echoed; ignored by design, and not recorded as drops.',
      labelNames: ['channel'],
      registers,
    }),
    platformCalls: new Counter({
      name: 'dovecote_gateway_platform_calls_total',
      help: 'Deliveries by outcome: delivered, or the reason of the retry or refusal.',
      labelNames: ['channel', 'kind', 'outcome'],
      registers,
    }),
    platformSeconds: new Histogram({
      name: 'dovecote_gateway_platform_seconds',
      help: 'Time in the platform, per delivery.',
      labelNames: ['channel'],
      buckets: SECONDS,
      registers,
    }),
  };
}
