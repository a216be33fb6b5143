/** Each role on a cluster, from its flags to its exit code. */

import { durationMs } from '@dovecote/crds';
import { NETWORK_DEFAULTS, WORKERS_DEFAULT } from '../controller/config.ts';
import { clusterRuntime, OWN_KERNEL_RUNTIMES } from '../controller/session/runtime.ts';
import { startController } from '../controller/start.ts';
import { startDelivery } from '../delivery/start.ts';
import { leaseOwnership } from '../gateway/channels/lease-ownership.ts';
import { agentGroups, sessions } from '../kube/resource-types.ts';
import { TaskGroup } from '../lib/task-group.ts';
import { startProxy } from '../proxy/start.ts';
import { watched } from './caches.ts';
import { runRole } from './cluster.ts';
import { fileTokens } from './file-tokens.ts';
import type { ControllerOptions, DeliveryOptions, GatewayOptions, ProxyOptions } from './flags.ts';
import { composeGateway } from './gateway.ts';
import { rbacAuthorizer } from './rbac-authorizer.ts';
import { secretValues } from './secret-values.ts';

const list = (text: string): string[] => text.split(',').filter((item) => item !== '');
const PROXY_PORT = 8082;
/** Below the Pod's grace of 30 s. A stream that is cut is tried again by its runner. */
const PROXY_DRAIN_MS = 20_000;

export const runController = (options: ControllerOptions): Promise<number> =>
  runRole(options, async (deps) => {
    const { runnerResources: resources, runnerTolerations: tolerations } = options;
    return startController({
      ...deps,
      config: {
        shards: list(options.shards),
        runtime: clusterRuntime({
          image: options.runnerImage,
          imagePullPolicy: options.runnerImagePullPolicy as 'Always' | 'IfNotPresent' | 'Never',
          ...(options.runnerImagePullSecrets !== '' && { imagePullSecrets: list(options.runnerImagePullSecrets) }),
          ...(options.runnerPriorityClass !== undefined && { priorityClassName: options.runnerPriorityClass }),
          ...(tolerations.length > 0 && { tolerations }),
          attach: options.deliveryAddress,
          proxy: options.proxyUrl,
          claim: options.claim,
          // The label that the StatefulSet controller gives each of its Pods: a template cannot name the shard.
          shardLabel: 'apps.kubernetes.io/pod-index',
          logLevel: options.logLevel,
          ...(resources.requests && { requests: resources.requests }),
          ...(resources.limits && { limits: resources.limits }),
          ownKernelRuntimes: options.ownKernelRuntimeClasses === undefined ? OWN_KERNEL_RUNTIMES : list(options.ownKernelRuntimeClasses),
        }),
        network: {
          ...NETWORK_DEFAULTS,
          enabled: options.networkPolicies,
          proxyPort: PROXY_PORT,
          ...(options.dns !== undefined && { dns: options.dns }),
        },
        workers: WORKERS_DEFAULT,
        identity: `${options.replica}-${deps.random.id(6)}`,
      },
    });
  });

export const runGateway = (options: GatewayOptions): Promise<number> =>
  runRole(options, (deps) => {
    const { store, clock, random, log } = deps;
    return composeGateway({
      ...deps,
      http: options.http,
      grpc: options.grpc,
      shardAddressTemplate: options.deliveryAddress,
      publicUrl: options.publicUrl,
      trustProxy: options.trustProxy,
      tokens: fileTokens(options.tokens),
      authorizer: rbacAuthorizer(deps.kubeConfig, store.namespace, clock),
      ownership: leaseOwnership({ store, identity: `${options.replica}-${random.id(6)}`, clock, random, log }),
    });
  });

export const runDelivery = (options: DeliveryOptions): Promise<number> =>
  runRole(options, async (deps) => {
    const shard = options.shard ?? /(\d+)$/.exec(options.replica)?.[1];
    if (shard === undefined) throw new Error('--shard is needed, or a --replica that ends in its number');
    const delivery = await startDelivery({
      ...deps,
      shard,
      root: options.root,
      listen: options.listen,
      gatewayAddress: options.gateway,
      tokens: fileTokens(options.tokens),
      limits: {
        maxAwakePerShard: options.maxAwake,
        orphanMs: durationMs(options.orphanWait),
        trashMs: durationMs(options.trashRetention),
      },
    });
    return { ready: () => delivery.ready(), died: delivery.failed, close: () => delivery.close() };
  });

export const runProxy = (options: ProxyOptions): Promise<number> =>
  runRole(options, async (deps) => {
    const group = new TaskGroup();
    const caches = { sessions: watched(sessions, { ...deps, group }), agentGroups: watched(agentGroups, { ...deps, group }) };
    const proxy = await startProxy({
      ...deps,
      ...caches,
      listen: options.listen,
      secrets: secretValues(deps.store),
      shardAddressTemplate: options.deliveryAddress,
      tokens: fileTokens(options.tokens),
      limits: { drainMs: PROXY_DRAIN_MS },
    });
    return {
      ready: () =>
        caches.sessions.hasSynced && caches.agentGroups.hasSynced ? [] : ['the caches of Sessions and AgentGroups have not synced'],
      died: group.signal,
      close: async () => {
        await proxy.close();
        await group.close();
      },
    };
  });
