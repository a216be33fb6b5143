/**
 * The proxy: the only way out of a session's Pod. The Pod shows its projected token; the proxy knows session and agent, and puts
 * credentials in. Bytes stream through unbuffered both ways. No credential is in a Pod, an answer, a log or an error.
 *
 *   Pod → authentication → model-route (budget, key, metering) → provider
 *                        → mcp-route   (headers from Secrets)  → MCP server
 *                        → egress      (allowed hosts)         → anything else
 */
import { lookup } from 'node:dns/promises';
import { usage } from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import type { Registry } from 'prom-client';
import { Agent } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { CHANNEL_OPTIONS } from '../lib/grpc.ts';
import type { TokenSource } from '../lib/identity.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { ShardClients } from '../lib/shard-clients.ts';
import type { AuthenticationDeps } from './authentication.ts';
import type { Resolve } from './egress/resolve.ts';
import { PROXY_LIMITS, type ProxyLimits } from './limits.ts';
import { UsageLedger } from './metering/usage-ledger.ts';
import { createProxyMetrics } from './metrics.ts';
import { SecretCache } from './secret-cache.ts';
import { serveProxy } from './server.ts';
import type { Secrets } from './upstream.ts';

export interface ProxyDeps extends AuthenticationDeps {
  /** host:port */
  readonly listen: string;
  readonly secrets: Secrets;
  /** where delivery listens, with {shard} */
  readonly shardAddressTemplate: string;
  readonly tokens: TokenSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly registry: Registry;
  readonly limits?: Partial<ProxyLimits>;
  /** Another way to look names up, for tests. */
  readonly resolve?: Resolve;
}

export interface RunningProxy {
  readonly address: string;
  /** Takes no new requests, lets open ones go on for a while, and cuts what is left. */
  close(): Promise<void>;
}

const CONNECT_MS = 10_000;

export async function startProxy(deps: ProxyDeps): Promise<RunningProxy> {
  const { clock, random, log } = deps;
  const limits: ProxyLimits = { ...PROXY_LIMITS, ...deps.limits };
  const metrics = createProxyMetrics(deps.registry);
  // No timeouts of its own: a model may think for minutes before and between two events, and each request has its time.
  const dispatcher = new Agent({ bodyTimeout: 0, headersTimeout: 0, connectTimeout: CONNECT_MS });
  const clients = new ShardClients({
    shardAddressTemplate: deps.shardAddressTemplate,
    connect: (address) => new usage.UsageClient(address, credentials.createInsecure(), CHANNEL_OPTIONS),
    clock,
    log,
  });
  const ledger = new UsageLedger({ clients, tokens: deps.tokens, clock, random, log, metrics, limits });
  const server = await serveProxy({
    ...deps,
    limits,
    metrics,
    ledger,
    secrets: new SecretCache(deps.secrets, clock),
    dispatcher,
    resolve: deps.resolve ?? ((host) => lookup(host, { all: true })),
  });
  return {
    address: server.address,
    close: async () => {
      await server.close();
      await ledger.close();
      await dispatcher.destroy();
    },
  };
}
