/**
 * Local mode: every role in one process over the embedded store, Pods as child processes. The only composition that imports all roles;
 * between them the same gRPC, tokens and files as on a cluster.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { RUNTIME_FILE, type Runtime } from '../cli/api-client.ts';
import { NETWORK_DEFAULTS, WORKERS_DEFAULT } from '../controller/config.ts';
import { localRuntime } from '../controller/session/runtime.ts';
import { startController } from '../controller/start.ts';
import type { Limits } from '../delivery/limits.ts';
import type { OutboxLimits } from '../delivery/outbox/outbox-limits.ts';
import { startDelivery } from '../delivery/start.ts';
import { soleOwner } from '../gateway/channels/ownership.ts';
import { EmbeddedStore } from '../kube/embedded/embedded-store.ts';
import { createKubeMetrics } from '../kube/metrics.ts';
import { agentGroups, configMaps, pods, sessions } from '../kube/resource-types.ts';
import { closeAll } from '../lib/close-all.ts';
import { serveHealth } from '../lib/health.ts';
import { TaskGroup } from '../lib/task-group.ts';
import type { ProxyLimits } from '../proxy/limits.ts';
import { startProxy } from '../proxy/start.ts';
import { watched } from '../roles/caches.ts';
import { type Foundation, firstAbort } from '../roles/foundation.ts';
import { composeGateway } from '../roles/gateway.ts';
import { secretValues } from '../roles/secret-values.ts';
import { endOrphans } from './kubelet/orphans.ts';
import { startKubelet } from './kubelet/start.ts';
import { applyManifests, type Manifest, readManifests } from './manifests.ts';
import { collectSecrets, withSecrets } from './secrets.ts';
import { LocalTokens } from './tokens.ts';

const SHARD = '0';
const NAMESPACE = 'local';
const CLAIM = 'data-{shard}';
const ORPHAN_GRACE_MS = 5_000;

export interface LocalOptions extends Foundation {
  /** folder of YAML */
  readonly manifests: string;
  /** folder of everything that outlives the process */
  readonly state: string;
  /** of the web chat; 0: any free one */
  readonly port: number;
  /** node and the runner's program */
  readonly runner: readonly string[];
  /** PATH of the runners */
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What stands in for a provider whose key is nowhere to be found; undefined: such an AgentGroup is not ready, as on a cluster. */
  readonly fallbackProvider?: 'demo' | undefined;
  readonly maxAwake?: number | undefined;
  /** Instead of the usual numbers, for tests. */
  readonly limits?:
    | {
        readonly delivery?: Partial<Limits>;
        readonly outbox?: Partial<OutboxLimits>;
        readonly proxy?: Partial<ProxyLimits>;
        readonly runner?: readonly string[];
      }
    | undefined;
}

export interface RunningLocal {
  readonly url: string;
  readonly token: string;
  /** AgentGroups that answer by the fallback */
  readonly fallbacks: readonly string[];
  /** Aborts with the reason when a part of it died. */
  readonly died: AbortSignal;
  close(): Promise<void>;
}

/** Throws with one sentence when manifests are wrong, another process has the state folder, or the port is taken. */
export async function startLocal(options: LocalOptions): Promise<RunningLocal> {
  const { clock, random, log, registry, reached } = options;
  const state = resolve(options.state); // agents run in folders of their own
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const closing: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    await closeAll(closing.splice(0).reverse());
  };
  try {
    const manifests = readManifests(options.manifests);
    const values = collectSecrets(manifests, options.env);
    const { wanted, fallbacks } =
      options.fallbackProvider === undefined ? { wanted: manifests, fallbacks: [] } : substitute(manifests, values);
    const embedded = new EmbeddedStore({ path: join(state, 'store.db'), namespace: NAMESPACE, clock, random, log });
    closing.push(() => embedded.close());
    const store = withSecrets(embedded, values);
    await applyManifests(store, wanted);
    // After a SIGKILL runners of the last run may still write: they end before delivery opens a cell.
    await endOrphans(join(state, 'kubelet'), { clock, log, graceMs: ORPHAN_GRACE_MS }, AbortSignal.timeout(60_000));
    // Their processes ended with the last run, and the addresses in them are of its ports: the controller makes them anew.
    const { items: leftOver } = await store.list(pods);
    for (const { metadata } of leftOver) await store.delete(pods, metadata.name, { uid: metadata.uid, gracePeriodSeconds: 0 });

    const kubeMetrics = createKubeMetrics(registry);
    const group = new TaskGroup();
    closing.push(() => group.close());
    const tokens = new LocalTokens(Buffer.from(random.id(64)), clock);
    const root = join(state, 'shard');
    mkdirSync(root, { recursive: true, mode: 0o700 });

    // Delivery and gateway call each other: the gateway's address is fixed first, delivery's is what it gets.
    const gatewayGrpc = `127.0.0.1:${await freePort()}`;
    const delivery = await startDelivery({
      store,
      shard: SHARD,
      root,
      listen: '127.0.0.1:0',
      gatewayAddress: gatewayGrpc,
      tokens: tokens.sourceFor('delivery'),
      reviewer: tokens,
      limits: { ...options.limits?.delivery, ...(options.maxAwake !== undefined && { maxAwakePerShard: options.maxAwake }) },
      // The gateway ends with this process, and with it every call that was under way.
      outboxLimits: { inFlightMs: 0, ...options.limits?.outbox },
      clock,
      random,
      log,
      registry,
      reached,
      kubeMetrics,
    });
    closing.push(() => delivery.close());

    const proxy = await startProxy({
      ...options,
      listen: '127.0.0.1:0',
      reviewer: tokens,
      sessions: watched(sessions, { ...options, store, group, kubeMetrics }),
      agentGroups: watched(agentGroups, { ...options, store, group, kubeMetrics }),
      secrets: secretValues(store),
      shardAddressTemplate: delivery.address,
      tokens: tokens.sourceFor('proxy'),
      limits: options.limits?.proxy ?? {},
    });
    closing.push(() => proxy.close());

    const token = random.id(32);
    const gateway = await composeGateway({
      ...options,
      store,
      http: `127.0.0.1:${options.port}`,
      grpc: gatewayGrpc,
      shardAddressTemplate: delivery.address,
      tokens: tokens.sourceFor('gateway'),
      reviewer: tokens,
      authorizer: {
        authorize: async (given) =>
          given === token
            ? { allowed: true, user: 'you' }
            : { allowed: false, status: 401, sentence: 'open the address that was printed at the start: it has the token' },
      },
      ownership: soleOwner,
      kubeMetrics,
    });
    closing.push(() => gateway.close());

    const controller = startController({
      store,
      config: {
        shards: [SHARD],
        runtime: localRuntime({ attach: delivery.address, proxy: `http://${proxy.address}`, claim: CLAIM, logLevel: log.level }),
        network: NETWORK_DEFAULTS,
        workers: WORKERS_DEFAULT,
        identity: `local-${process.pid}`,
      },
      clock,
      random,
      log,
      registry,
      reached,
      kubeMetrics,
    });
    closing.push(() => controller.close());

    const kubelet = await startKubelet({
      store,
      dir: join(state, 'kubelet'),
      program: [...options.runner, ...(options.limits?.runner ?? [])],
      path: options.path,
      configMap: (name) => store.get(configMaps, name),
      claimRoot: (claim) => (claim === CLAIM.replace('{shard}', SHARD) ? root : undefined),
      mintToken: (pod, audience) =>
        tokens.issue(
          { type: 'session', session: pod.metadata.name, podUid: pod.metadata.uid },
          audience as 'dovecote-delivery' | 'dovecote-proxy',
        ),
      clock,
      random,
      log,
    });
    closing.push(() => kubelet.close());

    const url = `http://${gateway.httpAddress}`;
    const runtime: Runtime = { url, token, pid: process.pid };
    writeFileSync(join(state, RUNTIME_FILE), JSON.stringify(runtime), { mode: 0o600 });
    closing.push(() => rmSync(join(state, RUNTIME_FILE), { force: true }));
    const died = new AbortController();
    void firstAbort(group.signal, gateway.died, controller.died, kubelet.died, delivery.failed).then((reason) => died.abort(reason));
    const health = await serveHealth({
      listen: '127.0.0.1:0',
      ready: () => [...gateway.ready(), ...delivery.ready(), ...controller.ready(), ...kubelet.ready()],
      registry,
    });
    closing.push(() => health.close());
    return { url, token, fallbacks, died: died.signal, close };
  } catch (e) {
    await close();
    throw e;
  }
}

/** AgentGroups whose key is not there get the demo provider instead. */
function substitute(
  manifests: readonly Manifest[],
  values: ReturnType<typeof collectSecrets>,
): { wanted: Manifest[]; fallbacks: string[] } {
  const fallbacks: string[] = [];
  const wanted = manifests.map((manifest) => {
    const spec = manifest.spec as
      | { provider?: { type?: string; anthropic?: { credentialsRef?: { name?: string; key?: string } } } }
      | undefined;
    const secret = spec?.provider?.anthropic?.credentialsRef;
    if (manifest.kind !== 'AgentGroup' || spec?.provider?.type !== 'anthropic' || secret?.name === undefined) return manifest;
    if (values.get(secret.name)?.get(secret.key ?? 'api-key')) return manifest;
    fallbacks.push(manifest.metadata.name);
    return { ...manifest, spec: { ...spec, provider: { type: 'demo' } } };
  });
  return { wanted, fallbacks };
}

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
