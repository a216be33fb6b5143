import { Counter, Gauge, type Registry } from 'prom-client';

/** What the proxy counts. Made once per registry. `route`: model, mcp, egress, none. */
export function createProxyMetrics(registry: Registry) {
  const registers = [registry];
  return {
    requests: new Counter({
      name: 'dovecote_proxy_requests_total',
      help: 'Requests of session Pods, by route and outcome.',
      labelNames: ['route', 'outcome'] as const,
      registers,
    }),
    open: new Gauge({
      name: 'dovecote_proxy_open_requests',
      help: 'Requests and tunnels that are open.',
      labelNames: ['route'] as const,
      registers,
    }),
    unadmitted: new Counter({
      name: 'dovecote_proxy_unadmitted_total',
      help: 'Model requests that went on although delivery could not record them yet: of agents without a budget, or far from its end.',
      registers,
    }),
    unmetered: new Counter({
      name: 'dovecote_proxy_unmetered_total',
      help: 'Answers of models whose usage could not be read.',
      registers,
    }),
    usagePending: new Gauge({
      name: 'dovecote_proxy_usage_pending',
      help: 'Finished model requests whose usage delivery does not have yet.',
      registers,
    }),
    usageLost: new Counter({
      name: 'dovecote_proxy_usage_lost_total',
      help: 'Finished model requests whose usage could not be told: delivery keeps them as unfinished.',
      registers,
    }),
  };
}
export type ProxyMetrics = ReturnType<typeof createProxyMetrics>;
