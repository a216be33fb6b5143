/** What the roles on a cluster share: the API server, who they are to each other, and their health. */
import { readFileSync } from 'node:fs';
import type { KubeConfig } from '@kubernetes/client-node';
import { ApiServerStore } from '../kube/api-server.ts';
import { loadKubeConfig } from '../kube/credentials.ts';
import { createKubeMetrics, type KubeMetrics } from '../kube/metrics.ts';
import type { ResourceStore } from '../kube/store.ts';
import { type Ready, serveHealth } from '../lib/health.ts';
import type { TokenReviewer } from '../lib/identity.ts';
import { endSignal, type Foundation, firstAbort, foundation } from './foundation.ts';
import { clusterTokenReviewer } from './token-reviewer.ts';

/** Agents' service accounts: `dovecote-agent-<AgentGroup>`, as the controller makes them. */
const AGENT_ACCOUNT_PREFIX = 'dovecote-agent-';
const NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

export interface ClusterOptions {
  readonly role: string;
  readonly logLevel: string;
  /** host:port */
  readonly health: string;
  /** the release's name: our own service accounts are `<install>-<role>` */
  readonly install: string;
  readonly namespace?: string | undefined;
  readonly kubeconfig?: string | undefined;
  readonly crashAt?: string | undefined;
}

export interface ClusterFoundation extends Foundation {
  readonly store: ResourceStore;
  readonly kubeConfig: KubeConfig;
  readonly reviewer: TokenReviewer;
  readonly kubeMetrics: KubeMetrics;
}

/** One part of a process. */
export interface Part {
  readonly ready: Ready;
  readonly died?: AbortSignal;
  close(): Promise<void>;
}

/**
 * Runs one role until it is told to end or a part of it dies; the health endpoint is there from the beginning, not ready until
 * `start` has resolved. Answers with the exit code.
 */
export async function runRole(options: ClusterOptions, start: (deps: ClusterFoundation) => Promise<Part>): Promise<number> {
  const base = foundation(options);
  const { log, clock, random, registry } = base;
  const ended = endSignal();
  let part: Part | undefined;
  let ending = false;
  const health = await serveHealth({
    listen: options.health,
    registry,
    ready: () => (ending ? ['it is ending'] : (part?.ready() ?? ['it is starting'])),
  });
  const kubeConfig = loadKubeConfig({ path: options.kubeconfig });
  const namespace = options.namespace ?? readFileSync(NAMESPACE_FILE, 'utf8').trim();
  const store = new ApiServerStore({ kubeConfig, namespace, clock, random });
  const reviewer = clusterTokenReviewer(
    kubeConfig,
    { namespace, install: options.install, agentAccountPrefix: AGENT_ACCOUNT_PREFIX },
    clock,
  );
  try {
    part = await start({ ...base, store, kubeConfig, reviewer, kubeMetrics: createKubeMetrics(registry) });
    log.info({ namespace }, 'role runs');
    const reason = await firstAbort(ended, ...(part.died === undefined ? [] : [part.died]));
    ending = true;
    if (ended.aborted) return 0;
    log.fatal({ err: reason }, 'a part of the process died');
    return 1;
  } finally {
    await part?.close();
    await store.close();
    await health.close();
  }
}
