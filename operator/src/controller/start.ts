/**
 * The controller: hop 6 of a message's path (a Session that is awake gets its Pod), and the home of every custom resource's status.
 * watch → cache → key → observe → plan → apply → status. Several may run; one acts, by Lease. It opens no cell and calls no platform.
 */
import type { Registry } from 'prom-client';
import { type Controller, type Reconcile, runController } from '../kube/controller.ts';
import { EventRecorder } from '../kube/events.ts';
import { type LeaseTimes, runWhileLeader } from '../kube/lease.ts';
import type { KubeMetrics } from '../kube/metrics.ts';
import type { ResourceStore } from '../kube/store.ts';
import { WorkQueue } from '../kube/work-queue.ts';
import type { Clock } from '../lib/clock.ts';
import type { Reached } from '../lib/crash-point.ts';
import { toError } from '../lib/errors.ts';
import type { Ready } from '../lib/health.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { TaskGroup } from '../lib/task-group.ts';
import { AgentGroupReconciler } from './agent-group/reconcile.ts';
import { createCaches, fillCaches, missingOf } from './caches.ts';
import { ChannelReconciler } from './channel/reconcile.ts';
import type { ControllerConfig } from './config.ts';
import { DestinationReconciler } from './destination/reconcile.ts';
import { reportTo } from './events.ts';
import { reportInvalidObjects } from './invalid-objects.ts';
import { FIELD_MANAGER, MANAGED_LABELS } from './labels.ts';
import { MessagingGroupReconciler } from './messaging-group/reconcile.ts';
import { createControllerMetrics } from './metrics.ts';
import { OwnWrites } from './own-writes.ts';
import { addEverything, route } from './routes.ts';
import { SessionReconciler } from './session/reconcile.ts';

export const LEASE = 'dovecote-controller';

export interface ControllerDeps {
  readonly store: ResourceStore;
  readonly config: ControllerConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly registry: Registry;
  readonly reached: Reached;
  /** Of the machinery; one per registry. */
  readonly kubeMetrics?: KubeMetrics | undefined;
  readonly leaseTimes?: LeaseTimes | undefined;
}

export interface RunningController {
  /** Ready is whoever could lead: its caches are full. Only one leads. */
  readonly ready: Ready;
  leads(): boolean;
  /** Aborts with the reason if it dies by itself. */
  readonly died: AbortSignal;
  /** Ends what is in flight, gives the Lease back, and waits for it. */
  close(): Promise<void>;
}

export function startController(deps: ControllerDeps): RunningController {
  const { store, config, clock, random, log, kubeMetrics, reached } = deps;
  const metrics = createControllerMetrics(deps.registry);
  const machinery = kubeMetrics === undefined ? {} : { metrics: kubeMetrics };
  const reporter = { controller: 'dovecote.dev/controller', instance: config.identity };
  const recorder = new EventRecorder({ store, reporter, clock, random, log, ...machinery });
  const report = reportTo(recorder, metrics);
  const { shardLabel } = config.runtime;
  const caches = createCaches({ log, clock, shardLabel });
  const group = new TaskGroup();
  group.run('controller/events', (signal) => recorder.run(signal));
  fillCaches(caches, deps, group);
  let leads = false;

  const lead = async (signal: AbortSignal): Promise<void> => {
    // All of them: on half a picture a Session has no AgentGroup, and an AgentGroup no sessions.
    for (const cache of Object.values(caches)) await cache.synced(signal);
    const own = {
      agentGroups: new OwnWrites(caches.agentGroups, clock),
      channels: new OwnWrites(caches.channels, clock),
      messagingGroups: new OwnWrites(caches.messagingGroups, clock),
      destinations: new OwnWrites(caches.destinations, clock),
      sessions: new OwnWrites(caches.sessions, clock),
      pods: new OwnWrites(caches.pods, clock),
    };
    const reconcilers = {
      agentGroups: new AgentGroupReconciler({
        ...caches,
        own: own.agentGroups,
        store,
        shards: config.shards,
        network: config.network,
        report,
        clock,
      }),
      channels: new ChannelReconciler({ own: own.channels, store, report, clock }),
      messagingGroups: new MessagingGroupReconciler({ ...caches, own: own.messagingGroups, store, report, clock }),
      destinations: new DestinationReconciler({ ...caches, own: own.destinations, store, report, clock }),
      sessions: new SessionReconciler({
        agentGroups: caches.agentGroups,
        deliveryPods: caches.deliveryPods,
        sessions: own.sessions,
        pods: own.pods,
        runtime: config.runtime,
        store,
        report,
        metrics,
        reached,
        clock,
        log,
      }),
    };
    const queueOf = (name: string) => new WorkQueue({ name, clock, random, signal, ...machinery });
    const queues = {
      agentGroups: queueOf('agentgroup'),
      channels: queueOf('channel'),
      messagingGroups: queueOf('messaginggroup'),
      destinations: queueOf('destination'),
      sessions: queueOf('session'),
    };
    const controllerOf = (kind: keyof typeof queues, name: string, concurrency: number): Controller => {
      const reconcile: Reconcile = (key, within) => reconcilers[kind].reconcile(key, within);
      return {
        name,
        queue: queues[kind],
        reconcile,
        concurrency,
        clock,
        random,
        log,
        ...machinery,
      };
    };
    const endRoutes = route(caches, queues, shardLabel);
    addEverything(caches, queues);
    leads = true;
    try {
      await Promise.all([
        runController(controllerOf('agentGroups', 'agentgroup', config.workers.other), signal),
        runController(controllerOf('channels', 'channel', config.workers.other), signal),
        runController(controllerOf('messagingGroups', 'messaginggroup', config.workers.other), signal),
        runController(controllerOf('destinations', 'destination', config.workers.other), signal),
        runController(controllerOf('sessions', 'session', config.workers.session), signal),
        reportInvalidObjects({ store, caches, clock, log }, signal),
      ]);
    } finally {
      leads = false;
      endRoutes();
      for (const writes of Object.values(own)) writes.close();
    }
  };

  group.run('controller/lease', (signal) =>
    runWhileLeader(
      {
        store,
        name: LEASE,
        identity: config.identity,
        fieldManager: FIELD_MANAGER,
        labels: MANAGED_LABELS,
        clock,
        random,
        log,
        signal,
        ...(deps.leaseTimes !== undefined && { times: deps.leaseTimes }),
        ...machinery,
      },
      lead,
    ),
  );

  return {
    ready: () => (group.signal.aborted ? [`the controller does not run: ${toError(group.signal.reason).message}`] : missingOf(caches)),
    leads: () => leads,
    died: group.signal,
    close: () => group.close(),
  };
}
