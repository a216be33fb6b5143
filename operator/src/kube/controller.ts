/** Path of a custom resource, third hop: takes keys, runs the reconciler, and is the one place that knows what an outcome means. */
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { TerminalError, toError, WaitingError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { KubeMetrics } from './metrics.ts';
import type { WorkQueue } from './work-queue.ts';

/** Brings one object one step closer to what is wanted. Throws WaitingError, TerminalError, or anything else for a backoff. */
export type Reconcile = (key: string, signal: AbortSignal, log: Log) => Promise<{ readonly resyncMs?: number | undefined } | undefined>;

export interface Controller {
  /** A label in metrics and logs. */
  readonly name: string;
  readonly queue: WorkQueue;
  readonly reconcile: Reconcile;
  /** Keys worked on at once. */
  readonly concurrency: number;
  /** A pass that takes longer is aborted and counts as failed: a hang must not keep its key for ever. */
  readonly passMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics?: KubeMetrics;
}

const PASS_MS = 120_000;

/** Ends when the queue does (its signal) and what was in flight has ended; `signal` tells the passes under way. */
export async function runController(controller: Controller, signal: AbortSignal): Promise<void> {
  controller.metrics?.maxWorkers.set({ controller: controller.name }, controller.concurrency);
  await Promise.all(Array.from({ length: controller.concurrency }, () => runWorker(controller, signal)));
}

async function runWorker(controller: Controller, signal: AbortSignal): Promise<void> {
  const { name, queue, metrics } = controller;
  for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
    metrics?.activeWorkers.inc({ controller: name });
    const startedAt = controller.clock.now();
    try {
      await runPass(controller, key, signal);
    } finally {
      metrics?.reconcileSeconds.observe({ controller: name }, (controller.clock.now() - startedAt) / 1_000);
      metrics?.activeWorkers.dec({ controller: name });
      queue.done(key);
    }
  }
}

async function runPass(controller: Controller, key: string, signal: AbortSignal): Promise<void> {
  const { name, queue, clock, metrics } = controller;
  const log = controller.log.child({ controller: name, key, reconcileId: controller.random.id(8) });
  try {
    const deadline = { ms: controller.passMs ?? PASS_MS, what: `reconcile ${name} ${key}`, clock, signal };
    const outcome = await withDeadline(deadline, (within) => controller.reconcile(key, within, log));
    queue.forget(key);
    if (outcome?.resyncMs !== undefined) queue.addAfter(key, outcome.resyncMs);
    metrics?.reconciles.inc({ controller: name, result: outcome?.resyncMs === undefined ? 'success' : 'requeue_after' });
  } catch (thrown) {
    if (signal.aborted) return; // we were told to stop: whoever is next starts from the objects, not from this error
    const err = toError(thrown);
    if (err instanceof TerminalError) {
      queue.forget(key);
      metrics?.reconciles.inc({ controller: name, result: 'terminal_error' });
      metrics?.terminalErrors.inc({ controller: name });
      metrics?.reconcileErrors.inc({ controller: name });
      log.error({ reason: err.reason, err }, 'reconcile stalled until the object changes');
    } else if (err instanceof WaitingError) {
      queue.forget(key);
      queue.addAfter(key, err.afterMs);
      metrics?.reconciles.inc({ controller: name, result: 'requeue_after' });
      log.info({ reason: err.reason, afterMs: err.afterMs, why: err.message }, 'reconcile waiting');
    } else {
      const retryMs = queue.addBackoff(key);
      metrics?.reconciles.inc({ controller: name, result: 'error' });
      metrics?.reconcileErrors.inc({ controller: name });
      log.error({ err, retryMs, failures: queue.failures(key) }, 'reconcile failed');
    }
  }
}
