/**
 * Local mode's node: watches Pods in the store and runs each as a child process of this machine. The controller cannot tell it
 * from a kubelet: same Pods, same status, same grace. What a container would fence off (network, files of others) is not fenced.
 */
import { rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { keepFilled } from '../../kube/keep-filled.ts';
import { ResourceCache } from '../../kube/resource-cache.ts';
import { type Pod, pods } from '../../kube/resource-types.ts';
import type { ResourceStore } from '../../kube/store.ts';
import type { Clock } from '../../lib/clock.ts';
import { toError } from '../../lib/errors.ts';
import type { Ready } from '../../lib/health.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { TaskGroup } from '../../lib/task-group.ts';
import { codeOf } from './error-code.ts';
import { endOrphans, podsDirOf } from './orphans.ts';
import { runPod } from './pod-worker.ts';
import type { VolumeDeps } from './volumes.ts';

export interface KubeletDeps extends VolumeDeps {
  readonly store: ResourceStore;
  /** A folder of its own: Pods' private folders in `pods/`, their output in `logs/`. */
  readonly dir: string;
  /** What stands for every image: program and first arguments, such as [node, runner/src/main.ts]. */
  readonly program: readonly string[];
  /** PATH of children; nothing else of this process's environment reaches them. */
  readonly path: string;
  /** Tokens are written anew this often; 40 min when absent. */
  readonly tokenRefreshMs?: number;
  /** A log begins a new file at this size; 5 MiB when absent. */
  readonly logBytes?: number;
  /** What a child has to end when this process ends, or when an earlier run left it behind; 5 s when absent. */
  readonly stopGraceMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface RunningKubelet {
  readonly ready: Ready;
  /** Where the output of a Pod goes. */
  logPath(podName: string): string;
  /** Aborts with the reason if it dies by itself. */
  readonly died: AbortSignal;
  /** Ends every child and waits for it. Pods stay in the store and are started again by the next run. */
  close(): Promise<void>;
}

interface Tenant {
  readonly uid: string;
  readonly deleted: AbortController;
  graceMs: number;
  readonly finished: Promise<void>;
}

/** Resolves when no child of an earlier run is left and Pods are being watched. */
export async function startKubelet(deps: KubeletDeps): Promise<RunningKubelet> {
  const { store, clock, random, log, dir } = deps;
  const podsDir = podsDirOf(dir);
  const stopGraceMs = deps.stopGraceMs ?? 5_000;
  const group = new TaskGroup();
  const stopped = new AbortController();
  const logPath = (podName: string): string => join(dir, 'logs', `${podName}.log`);
  // Before anything is started: two runners on one cell would break it.
  await endOrphans(dir, { clock, log, graceMs: stopGraceMs }, stopped.signal);

  const cache = new ResourceCache<Pod>({ log, clock });
  /** By name, as a cell is: the next Pod of a name waits for the process of the one before it. */
  const tenants = new Map<string, Tenant>();

  const take = (pod: Pod): void => {
    const { name, uid } = pod.metadata;
    const before = tenants.get(name);
    const deleted = new AbortController();
    const worker = async (): Promise<void> => {
      await before?.finished;
      if (stopped.signal.aborted) return;
      const podDir = join(podsDir, uid);
      const orders = {
        deleted: deleted.signal,
        stopped: stopped.signal,
        graceMs: () => (stopped.signal.aborted ? Math.min(stopGraceMs, tenant.graceMs) : tenant.graceMs),
      };
      await runPod(pod, orders, {
        ...deps,
        podDir,
        logPath: logPath(name),
        logBytes: deps.logBytes ?? 5 * 1024 * 1024,
        tokenRefreshMs: deps.tokenRefreshMs ?? 40 * 60_000,
      });
    };
    const finished = worker().then(
      () => release(name, uid),
      (thrown: unknown) => {
        log.error({ pod: name, err: toError(thrown) }, 'a Pod could not be run to its end');
        release(name, uid);
      },
    );
    const tenant: Tenant = { uid, deleted, graceMs: graceOf(pod), finished };
    tenants.set(name, tenant);
    see(pod);
  };
  const release = (name: string, uid: string): void => {
    if (tenants.get(name)?.uid === uid) tenants.delete(name);
  };
  const see = (pod: Pod): void => {
    const tenant = tenants.get(pod.metadata.name);
    if (tenant?.uid !== pod.metadata.uid || pod.metadata.deletionTimestamp === undefined) return;
    tenant.graceMs = graceOf(pod);
    tenant.deleted.abort(new Error('the Pod is being deleted'));
  };
  cache.onChange(({ type, object }) => {
    const tenant = tenants.get(object.metadata.name);
    if (type !== 'DELETED') {
      if (tenant?.uid === object.metadata.uid) see(object);
      else if (!stopped.signal.aborted) take(object);
      return;
    }
    if (tenant?.uid !== object.metadata.uid) return;
    // Removed by force: whoever did so said that nothing of it is to be waited for.
    if (object.metadata.deletionTimestamp === undefined) tenant.graceMs = 0;
    tenant.deleted.abort(new Error('the Pod is gone'));
  });

  keepFilled(pods, cache, { store, clock, random, log }, group);
  await cache.synced(group.signal);
  await clean(podsDir, new Set(cache.list().map(({ metadata }) => metadata.uid)));

  return {
    died: group.signal,
    logPath,
    ready: () => (group.signal.aborted ? [`the kubelet does not run: ${toError(group.signal.reason).message}`] : []),
    close: async () => {
      stopped.abort(new Error('shutting down'));
      await group.close();
      await Promise.all([...tenants.values()].map(({ finished }) => finished));
    },
  };
}

/** What is left of its grace period, or all of it while nobody asked for its end. */
function graceOf({ metadata, spec }: Pod): number {
  return (metadata.deletionGracePeriodSeconds ?? spec?.terminationGracePeriodSeconds ?? 30) * 1_000;
}

/** Folders of Pods that were removed while nobody looked. */
async function clean(podsDir: string, known: ReadonlySet<string>): Promise<void> {
  const names = await readdir(podsDir).catch((thrown: unknown) => {
    if (codeOf(thrown) === 'ENOENT') return [];
    throw thrown;
  });
  for (const uid of names) if (!known.has(uid)) rmSync(join(podsDir, uid), { recursive: true, force: true });
}
