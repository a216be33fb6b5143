/** The life of one Pod on this machine: volumes, process, restarts, end. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Pod, pods } from '../../kube/resource-types.ts';
import type { ResourceStore } from '../../kube/store.ts';
import { type Backoff, backoffMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { commandOf } from './command.ts';
import { LogFile } from './log-file.ts';
import { PID_FILE } from './orphans.ts';
import { type ContainerState, podStatus, type Terminated, terminatedOf, timestamp } from './pod-status.ts';
import { Child, type Ended } from './process.ts';
import { mountVolumes, type VolumeDeps, writeTokens } from './volumes.ts';

export interface PodWorkerDeps extends VolumeDeps {
  readonly store: ResourceStore;
  /** Of this Pod only. */
  readonly podDir: string;
  readonly logPath: string;
  readonly logBytes: number;
  /** What stands for the image: program and first arguments. */
  readonly program: readonly string[];
  /** PATH of children. */
  readonly path: string;
  readonly tokenRefreshMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What can be told to a Pod that runs. */
export interface Orders {
  /** Aborts when the Pod is to end and to be removed. */
  readonly deleted: AbortSignal;
  /** Aborts when this process ends: the Pod stays, its child does not. */
  readonly stopped: AbortSignal;
  /** How long the child has to end by itself, asked when either aborts. */
  graceMs(): number;
}

const FIELD_MANAGER = 'dovecote-kubelet';

/** The first restart is at once; the second waits this long, the third twice as long. */
const RESTART: Backoff = { baseMs: 1_000, maxMs: 60_000 };
/** A child that ran this long begins to count anew. */
const LONG_RUN_MS = 600_000;
const WRITE_RETRY: Backoff = { baseMs: 100, maxMs: 5_000 };
const NO_JITTER = { fraction: () => 1, id: () => '' };

/** Resolves when nothing of the Pod runs any more and, if it was deleted, it is gone from the store. */
export async function runPod(pod: Pod, orders: Orders, deps: PodWorkerDeps): Promise<void> {
  const ending = AbortSignal.any([orders.deleted, orders.stopped]);
  const phase = pod.status?.phase;
  if (phase !== 'Succeeded' && phase !== 'Failed') {
    const log = new LogFile(deps.logPath, deps.logBytes);
    try {
      await new Life(pod, orders, ending, log, deps).run();
    } finally {
      log.close();
    }
  }
  await aborted(ending);
  if (!orders.deleted.aborted) return;
  await rm(deps.podDir, { recursive: true, force: true });
  await remove(pod, orders.stopped, deps);
}

class Life {
  readonly #pod: Pod;
  readonly #orders: Orders;
  readonly #ending: AbortSignal;
  readonly #log: LogFile;
  readonly #deps: PodWorkerDeps;
  readonly #startTime: string;
  #restartCount: number;
  #last: Terminated | undefined;
  /** Ends in a row without a long run between them. */
  #falls = 0;

  constructor(pod: Pod, orders: Orders, ending: AbortSignal, log: LogFile, deps: PodWorkerDeps) {
    this.#pod = pod;
    this.#orders = orders;
    this.#ending = ending;
    this.#log = log;
    this.#deps = deps;
    const before = pod.status?.containerStatuses?.[0];
    this.#startTime = pod.status?.startTime ?? timestamp(deps.clock.now());
    // It ran under an earlier run of this program, which is over: this start is one more.
    this.#restartCount = before === undefined ? 0 : before.restartCount + (before.state?.running === undefined ? 0 : 1);
  }

  async run(): Promise<void> {
    while (!this.#ending.aborted) {
      let child: Child;
      try {
        child = await this.#start();
      } catch (thrown) {
        const err = toError(thrown);
        this.#falls += 1;
        this.#deps.log.error({ pod: this.#pod.metadata.name, err }, 'cannot start the process of a Pod');
        await this.#report({ waiting: { reason: 'CreateContainerError', message: err.message } });
        await this.#pause(backoffMs(this.#falls, RESTART, NO_JITTER));
        continue;
      }
      const startedMs = this.#deps.clock.now();
      const startedAt = timestamp(startedMs);
      await this.#report({ running: { startedAt } });
      const ended = await this.#watch(child);
      const ranMs = this.#deps.clock.now() - startedMs;
      this.#last = terminatedOf(ended, this.#log.takeTail(), startedAt, timestamp(this.#deps.clock.now()));
      if (this.#ending.aborted) return;
      if (!restarts(this.#pod, ended)) {
        await this.#report({ terminated: this.#last });
        return;
      }
      this.#falls = ranMs >= LONG_RUN_MS ? 1 : this.#falls + 1;
      this.#deps.log.warn(
        { pod: this.#pod.metadata.name, exitCode: ended.exitCode, falls: this.#falls },
        'process of a Pod ended and is restarted',
      );
      if (this.#falls > 1) {
        const waitMs = backoffMs(this.#falls - 1, RESTART, NO_JITTER);
        const message = `back-off ${waitMs / 1_000}s restarting failed container`;
        await this.#report({ waiting: { reason: 'CrashLoopBackOff', message } });
        await this.#pause(waitMs);
      }
      this.#restartCount += 1;
    }
  }

  async #start(): Promise<Child> {
    const { podDir, program, path, clock } = this.#deps;
    await mkdir(podDir, { recursive: true, mode: 0o700 });
    const mounts = await mountVolumes(this.#pod, podDir, this.#deps);
    const command = commandOf(this.#pod, mounts, program, path);
    return new Child(command, { cwd: podDir, pidFile: join(podDir, PID_FILE), log: this.#log, clock });
  }

  /** Until the child has ended, by itself or because it was told to. Its tokens are kept fresh meanwhile. */
  async #watch(child: Child): Promise<Ended> {
    const { clock, tokenRefreshMs, podDir } = this.#deps;
    const over = new AbortController();
    const told = aborted(this.#ending).then(() => 'told' as const);
    const ended = child.ended.finally(() => over.abort());
    for (;;) {
      const tick = clock.sleep(tokenRefreshMs, over.signal).then(
        () => 'refresh' as const,
        () => 'over' as const, // only by `over`
      );
      const first = await Promise.race([ended, told, tick]);
      if (first === 'told') break;
      if (first === 'refresh') await writeTokens(this.#pod, podDir, this.#deps);
      else if (first !== 'over') return first;
      else return ended;
    }
    child.terminate();
    const late = await Promise.race([
      ended.then(() => false),
      clock.sleep(this.#orders.graceMs(), over.signal).then(
        () => true,
        () => false,
      ),
    ]);
    if (late) {
      this.#deps.log.warn({ pod: this.#pod.metadata.name }, 'process of a Pod did not end in its grace period and is killed');
      child.kill();
    }
    return ended;
  }

  async #report(state: ContainerState): Promise<void> {
    const { store, log, clock, random } = this.#deps;
    const { name } = this.#pod.metadata;
    const progress = {
      state,
      lastState: 'terminated' in state ? undefined : this.#last,
      restartCount: this.#restartCount,
      startTime: this.#startTime,
    };
    for (let failures = 0; !this.#ending.aborted; ) {
      try {
        await store.applyStatus(pods, name, podStatus(this.#pod, progress), { fieldManager: FIELD_MANAGER, signal: this.#ending });
        return;
      } catch (thrown) {
        if (this.#ending.aborted) return;
        failures += 1;
        log.error({ pod: name, err: toError(thrown), failures }, 'cannot write the status of a Pod');
        await clock.sleep(backoffMs(failures, WRITE_RETRY, random), this.#ending).catch(() => {}); // cancelled: the condition ends it
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    await this.#deps.clock.sleep(ms, this.#ending).catch(() => {}); // cancelled: the caller looks at `ending`
  }
}

function restarts(pod: Pod, { exitCode }: Ended): boolean {
  const policy = pod.spec?.restartPolicy ?? 'Always';
  return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
}

async function remove(pod: Pod, stopped: AbortSignal, { store, log, clock, random }: PodWorkerDeps): Promise<void> {
  const { name, uid } = pod.metadata;
  for (let failures = 1; !stopped.aborted; failures += 1) {
    try {
      const live = await store.get(pods, name, { signal: stopped });
      if (live?.metadata.uid === uid) await store.delete(pods, name, { uid, gracePeriodSeconds: 0, signal: stopped });
      return;
    } catch (thrown) {
      if (stopped.aborted) return;
      log.error({ pod: name, err: toError(thrown), failures }, 'cannot remove a Pod whose process has ended');
      await clock.sleep(backoffMs(failures, WRITE_RETRY, random), stopped).catch(() => {}); // cancelled: the condition ends it
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
