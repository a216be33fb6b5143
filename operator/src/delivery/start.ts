/**
 * Delivery: the middle of a message's path, one process per shard. In: gateways (Inbox), runners (Attach). Out: rows in the cells,
 * spec.awake, and gateways again (Platform). Folder order is the path: inbox, wake, attach, outbox; sweep finds what they miss.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { byteCount } from '@dovecote/crds';
import { platform } from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import type { Registry } from 'prom-client';
import type { KubeMetrics } from '../kube/metrics.ts';
import { agentGroups } from '../kube/resource-types.ts';
import type { ResourceStore } from '../kube/store.ts';
import type { Clock } from '../lib/clock.ts';
import { closeAll } from '../lib/close-all.ts';
import type { Reached } from '../lib/crash-point.ts';
import { toError } from '../lib/errors.ts';
import { CHANNEL_OPTIONS } from '../lib/grpc.ts';
import type { TokenReviewer, TokenSource } from '../lib/identity.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { TaskGroup } from '../lib/task-group.ts';
import { AttachHub, type RunnerEndpoint } from './attach/hub.ts';
import { Background } from './background.ts';
import { highestSeq } from './cells/next-seq.ts';
import { RunnerPool } from './container/runner-pool.ts';
import { followObjects } from './follow-objects.ts';
import { Inbox, type InboxDeps } from './inbox/inbox.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { runLoops } from './loops.ts';
import { createDeliveryMetrics } from './metrics.ts';
import { createOutbox } from './outbox/outbox.ts';
import type { OutboxLimits } from './outbox/outbox-limits.ts';
import { RateLimiter } from './outbox/rate-limit.ts';
import { unfinishedTurn } from './outbox/unfinished-turn.ts';
import { VolumePressure } from './pressure/pressure.ts';
import { PreviewCalls } from './previews/preview-calls.ts';
import { Previews } from './previews/previews.ts';
import { TypingIndicator } from './previews/typing.ts';
import { Projector } from './projection/projector.ts';
import { createResources, fillResources } from './resources.ts';
import { Search } from './search/search.ts';
import { serve } from './serve.ts';
import { activityOf } from './sessions/activity.ts';
import { writingOf } from './sessions/writing.ts';
import { Feed } from './shard/feed.ts';
import { IndexKeeper } from './shard/index-keeper.ts';
import { StorageReports } from './shard/storage-reports.ts';
import { Sweep } from './sweep/sweep.ts';
import { BudgetReports } from './usage/budget-reports.ts';
import { Usage } from './usage/usage.ts';
import { openVolume } from './volume.ts';
import { Heartbeats } from './wake/heartbeats.ts';
import { Wake } from './wake/wake.ts';

export interface DeliveryDeps {
  readonly store: ResourceStore;
  /** "0", "1", ... */
  readonly shard: string;
  /** folder of the shard's volume */
  readonly root: string;
  /** host:port; port 0 chooses one */
  readonly listen: string;
  /** Where gateways serve Platform: a gRPC target, such as dns:///dovecote-gateway:7071 */
  readonly gatewayAddress: string;
  readonly reviewer: TokenReviewer;
  readonly tokens: TokenSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly registry: Registry;
  readonly kubeMetrics?: KubeMetrics;
  readonly reached: Reached;
  readonly limits?: Partial<Limits>;
  readonly outboxLimits?: Partial<OutboxLimits>;
  /** Another way to ask for the volume's free bytes, for tests. */
  readonly freeBytes?: () => Promise<number>;
}

export interface Delivery {
  readonly address: string;
  /** what is missing, as sentences; empty: ready */
  ready(): readonly string[];
  /** Aborted, with the task's name, when a loop died: the process should end. */
  readonly failed: AbortSignal;
  /** How to reach an awake session's ContainerService. */
  runner(session: string): RunnerEndpoint | undefined;
  close(): Promise<void>;
}

/** All gateways behind one name take turns; one that is gone is left out. */
const ROUND_ROBIN = { 'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }) };
/** Takes the shard, makes sense of what is there, serves. Throws one sentence when another process has the shard. */
export async function startDelivery(deps: DeliveryDeps): Promise<Delivery> {
  const { store, shard, root, clock, random, registry, reached } = deps;
  const log = deps.log.child({ shard });
  const limits: Limits = { ...DEFAULT_LIMITS, ...deps.limits };
  const tasks = new TaskGroup();
  const volume = await openVolume({ root, shard, maxOpenCells: limits.maxOpenCells, clock, log, signal: tasks.signal });
  const { cells, index, staging } = volume;
  const undo: (() => Promise<void> | void)[] = [() => volume.close()];
  const close = async (): Promise<void> => {
    await closeAll(undo.splice(0).reverse());
  };
  try {
    const metrics = createDeliveryMetrics(registry);
    const resourcesDeps = { store, shard, clock, random, log, kubeMetrics: deps.kubeMetrics };
    const resources = createResources(resourcesDeps);
    const background = new Background({ log, failures: metrics.failures });
    const feed = new Feed();
    const keeper = new IndexKeeper({ cells, index, feed });
    const search = new Search({
      root,
      shard,
      cells,
      index,
      feed,
      agentGroups: resources.agentGroups,
      channels: resources.channels,
      destinations: resources.destinations,
      clock,
      log,
      full: () => space.full,
      lag: metrics.searchLag,
      seconds: metrics.searchSeconds,
    });
    undo.push(() => search.close());
    const partials = new Feed();
    const storage = new StorageReports({ store, sessions: resources.sessions, background });
    const client = new platform.PlatformClient(deps.gatewayAddress, credentials.createInsecure(), { ...CHANNEL_OPTIONS, ...ROUND_ROBIN });
    undo.push(() => client.close());
    const limiter = new RateLimiter(resources.channels, clock);
    const calls = new PreviewCalls({ client, tokens: deps.tokens });
    const outbox = createOutbox({
      cells,
      limiter,
      previewOf: (cell, turn, lane) => previews.take(cell, turn, lane),
      platform: client,
      tokens: deps.tokens,
      channels: resources.channels,
      destinations: resources.destinations,
      clock,
      random,
      log,
      registry,
      reached,
      ...(deps.outboxLimits !== undefined && { limits: deps.outboxLimits }),
      onHostile: (session, error) => {
        storage.report(session, { reason: 'OutboundRefused', message: `Its outbound.db is not read: ${error.message}` });
      },
      onTitled: (session, title) => {
        keeper.titled(session, title);
        wake.titled(session, title);
      },
      onChanged: (session, seqs) =>
        background.run('notify', session, async () => {
          await nextTurn(); // the platform call goes out first: index and viewers are in nobody's way
          for (const lane of keeper.sent(session, seqs)) typing.delivered(session, lane);
        }),
    });
    undo.push(() => outbox.close());
    const hub = new AttachHub({
      clock,
      random,
      log,
      highestSeq: (session) => (cells.has(session) ? highestSeq(cells.open(session).inbound) : undefined),
      events: {
        onAttached: (session) => {
          metrics.attached.set(hub.size);
          pool.refresh(session);
          wake.onAttached(session);
        },
        onOutbox: (session) => background.run('read', session, () => read(session)),
        onProgress: (session, progress) => {
          wake.onProgress(session, progress);
          hint(session);
        },
        onPartial: (session) => {
          partials.changed(session);
          hint(session);
        },
        onDrained: (session) => wake.onGone(session),
        onDetached: (session) => {
          metrics.attached.set(hub.size);
          pool.refresh(session);
          partials.changed(session);
          hint(session);
          wake.onGone(session);
        },
      },
    });
    const pool = new RunnerPool({ endpoint: (session) => hub.endpoint(session), clock, log, evictions: metrics.containerEvictions });
    undo.push(() => pool.close());
    const previews = new Previews({
      cells,
      hub,
      agentGroups: resources.agentGroups,
      destinations: resources.destinations,
      calls,
      limiter,
      background,
      clock,
      log,
      reached,
      outcomes: metrics.previews,
    });
    const { channels, destinations } = resources;
    const typing = new TypingIndicator({ cells, hub, channels, destinations, calls, background, clock, log });
    /** What its runner says, passed on to chats: a failure there is none of the stream's. */
    const hint = (session: string): void => {
      try {
        previews.heard(session);
        typing.heard(session);
      } catch (e) {
        log.warn({ session, err: toError(e) }, 'what a session writes could not be shown');
      }
    };
    const read = async (session: string): Promise<void> => {
      const { newRows, done, failed } = await outbox.read(session);
      if (newRows + done.length + failed.length > 0) wake.active(session);
    };
    const projector = new Projector({ cells, agentGroups: resources.agentGroups, destinations: resources.destinations, log });
    const wake: Wake = new Wake({
      shard,
      store,
      sessions: resources.sessions,
      agentGroups: resources.agentGroups,
      cells,
      index,
      hub,
      storage,
      feed,
      background,
      limits,
      clock,
      random,
      log,
      metrics,
      project: (session) => void projector.project(session),
      read,
      openOutbound: (session) => outbox.open(session),
      unfinishedTurn: (session) => unfinishedTurn(cells.open(session), clock.now()) === 'due',
      notice: (session, notice) => outbox.notice(session, notice),
    });
    const pressure = new VolumePressure({
      root,
      cells,
      index,
      storage,
      sessions: resources.sessions,
      agentGroups: resources.agentGroups,
      wake,
      outbox,
      background,
      limits,
      clock,
      log,
      metrics,
      ...(deps.freeBytes !== undefined && { freeBytes: deps.freeBytes }),
    });
    const { space } = pressure;
    const maxAttachmentBytes = (channel: string | null): number => {
      const size = channel === null ? undefined : resources.channels.get(channel)?.spec.maxAttachmentBytes;
      return size === undefined ? limits.defaultAttachmentBytes : byteCount(size);
    };
    const inboxDeps: InboxDeps = {
      shard,
      cells,
      index,
      agentGroups: resources.agentGroups,
      fetchAgent: (name) => store.get(agentGroups, name),
      sessions: resources.sessions,
      line: volume.line,
      staging,
      space,
      drops: volume.drops,
      clock,
      log,
      reached,
      events: metrics.events,
      maxAttachmentBytes,
      maxMessageAttachmentBytes: limits.maxMessageAttachmentBytes,
      fill: ({ inbound, meta }, agent) => void projector.fill(inbound, agent, meta.scope),
      ring: (session) => wake.ring(session),
      onAmended: (session, seq) => background.run('search', session, () => search.amended(session, seq)),
      onAppended: (session, rows, rang) => {
        try {
          if (rows.some(({ trigger }) => trigger)) {
            wake.active(session);
            if (!rang) wake.request(session);
          }
          keeper.appended(
            session,
            rows.map(({ message }) => message),
          );
        } catch (e) {
          log.error({ session, err: toError(e) }, 'session could not be woken, the next tick tries again');
        }
      },
    };
    const inbox = new Inbox(inboxDeps);
    const sweep = new Sweep({
      shard,
      store,
      sessions: resources.sessions,
      agentGroups: resources.agentGroups,
      cells,
      index,
      storage,
      wake,
      staging,
      limits,
      clock,
      log,
      metrics,
      read,
    });

    const usage = new Usage({
      shard,
      store,
      ledger: volume.ledger,
      reports: new BudgetReports({ store, background, clock }),
      agentGroups: resources.agentGroups,
      cells,
      inbox,
      outbox,
      background,
      clock,
      admissions: metrics.admissions,
    });
    followObjects({ resources, cells, index, projector, hub, wake, storage, sweep, usage, background, read });
    undo.push(() => tasks.close());
    undo.push(() => background.close());
    await fillResources(resources, resourcesDeps, tasks);
    await space.check();
    await sweep.adoptAll(tasks.signal);

    const server = await serve({
      listen: deps.listen,
      reviewer: deps.reviewer,
      clock,
      random,
      log,
      hub,
      inbox,
      inboxDeps,
      maxStagedBytes: () =>
        Math.max(limits.defaultAttachmentBytes, ...resources.channels.list().map(({ metadata }) => maxAttachmentBytes(metadata.name))),
      sessionsDeps: { cells, index, drops: volume.drops, clock, log, wake },
      search,
      watchDeps: {
        cells,
        index,
        feed,
        clock,
        activity: (session) =>
          activityOf(session, { state: wake.state(session), queuePosition: wake.queuePosition(session), progress: hub.progress(session) }),
        partials,
        partial: (session) => writingOf({ hub, cells, destinations, clock }, session),
      },
      wake,
      outbox,
      usage,
      enqueueSeconds: metrics.enqueueSeconds,
      containerDeps: {
        cells,
        pool,
        isAttached: (session) => hub.isAttached(session),
        state: (session) => wake.state(session),
        onActive: (session) => wake.active(session),
        full: () => space.full,
        room: (session, place, signal) => pressure.room(session, place, signal),
        calls: metrics.containerCalls,
        log,
      },
    });
    undo.push(() => server.close());

    const heartbeats = new Heartbeats({ root, wake, hub, background, log, failures: metrics.failures });
    runLoops(tasks, { wake, heartbeats, outbox, previews, typing, pressure, search, sweep, usage, background, limits, clock, read });
    log.info({ address: server.address, cells: index.names().length }, 'delivery serves its shard');
    return {
      address: server.address,
      ready: () => (tasks.signal.aborted ? [`delivery of shard ${shard} is ending: ${toError(tasks.signal.reason).message}`] : []),
      failed: tasks.signal,
      runner: (session) => hub.endpoint(session),
      close,
    };
  } catch (e) {
    await close();
    throw e;
  }
}
