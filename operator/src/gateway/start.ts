/**
 * The gateway: ends webhooks and socket connections, decides who may reach which agent, makes events durable in delivery, and
 * performs platform calls for delivery. It keeps nothing that a restart would lose, so N of them are equal.
 *
 *   platform → ingress → channels → intake: access, routing → inbox-client → delivery
 *   delivery → platform → render → channels → platform
 */

import type { Channel } from '@dovecote/crds';
import { inbox as inboxProto, platform } from '@dovecote/proto';
import { credentials, Server } from '@grpc/grpc-js';
import { type FastifyInstance, fastify } from 'fastify';
import type { Registry } from 'prom-client';
import { channels as channelResources } from '../kube/resource-types.ts';
import type { ResourceStore } from '../kube/store.ts';
import type { Clock } from '../lib/clock.ts';
import type { Reached } from '../lib/crash-point.ts';
import { abandonAfter } from '../lib/deadline.ts';
import { TerminalError, toError, WaitingError } from '../lib/errors.ts';
import { authenticate, CHANNEL_OPTIONS, closeServer, listen } from '../lib/grpc.ts';
import type { TokenReviewer, TokenSource } from '../lib/identity.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { ShardClients } from '../lib/shard-clients.ts';
import { ShownAnswers } from './answers/show.ts';
import type { ChannelType, IncomingAttachment, IncomingEvent, IncomingMessage, StagedFor } from './channels/channel.ts';
import { KEEPER_TIMES, type KeeperTimes } from './channels/channel-keeper.ts';
import type { Ownership } from './channels/ownership.ts';
import { ChannelSupervisor } from './channels/supervisor.ts';
import { ShardInbox } from './inbox-client/inbox-client.ts';
import { WEBHOOK_LIMITS, type WebhookLimits, webhookRoutes } from './ingress/webhook.ts';
import { INTAKE_LIMITS, Intake, type IntakeLimits } from './intake/intake.ts';
import type { Receipt } from './intake/receipt.ts';
import { gatewayMetrics } from './metrics.ts';
import { type GatewayCaches, GatewayObjects } from './objects.ts';
import { PLATFORM_LIMITS, type PlatformLimits, PlatformService } from './platform/service.ts';
import { RequestsInHand } from './requests-in-hand.ts';

const FIELD_MANAGER = 'dovecote-gateway';

/** What routes that are added to the HTTP server may use. */
export interface GatewayContext {
  /**
   * An event from someone whom the route has authenticated. Resolves when it is durable; rejects with TerminalError (reason
   * ChannelMissing) or as Intake.receive does: then it was not stored, and may be sent again under the same event id.
   */
  receive(channel: string, events: readonly IncomingEvent[]): Promise<readonly Receipt[]>;
  /** A file ahead of the message that will name it. Rejects as `receive`, or with AttachmentError. */
  stage(channel: string, event: IncomingMessage, attachment: IncomingAttachment): Promise<readonly StagedFor[]>;
}

/** Adds routes, before the server listens. Long streams end in a `preClose` hook. */
export type GatewayPlugin = (app: FastifyInstance, gateway: GatewayContext) => Promise<void> | void;

export interface GatewayDeps {
  readonly store: Pick<ResourceStore, 'applyStatus' | 'get'>;
  /** Filled by reflectors of the composition. */
  readonly caches: GatewayCaches;
  /** The values of a Secret, decoded; undefined when it does not exist. */
  readonly secrets: (name: string) => Promise<Readonly<Record<string, string>> | undefined>;
  readonly shardAddressTemplate: string;
  readonly tokens: TokenSource;
  readonly reviewer: TokenReviewer;
  readonly ownership: Ownership;
  /** host:port */
  readonly httpListen: string;
  readonly grpcListen: string;
  /** Where platforms can reach the HTTP server, such as https://bots.example.com: webhooks are then registered by us. */
  readonly publicUrl?: string | undefined;
  /** Whether a reverse proxy in front tells the true address of a caller in X-Forwarded-For (rate limits count by it). */
  readonly trustProxy?: boolean | undefined;
  readonly plugins?: readonly GatewayPlugin[] | undefined;
  readonly limits?:
    | {
        readonly webhook?: Partial<WebhookLimits> | undefined;
        readonly intake?: Partial<IntakeLimits> | undefined;
        readonly platform?: Partial<PlatformLimits> | undefined;
        readonly keeper?: Partial<KeeperTimes> | undefined;
      }
    | undefined;
  /** Instead of those that this version has. */
  readonly channelTypes?: Readonly<Record<string, ChannelType>> | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly registry: Registry;
  readonly reached: Reached;
}

export interface Gateway {
  /** host:port */
  readonly httpAddress: string;
  readonly grpcAddress: string;
  /** What keeps it from being ready, each a sentence; empty: it is. One Channel's trouble is in its status, not here. */
  ready(): readonly string[];
  /** Sentences about Channels that cannot be used. */
  channelProblems(): readonly string[];
  /** Takes no new work, ends what is in hand within about 25 s, then everything. */
  close(): Promise<void>;
}

/** How long webhooks in hand may go on at shutdown before the platform is told to come again. */
const DRAIN_MS = 10_000;
const GRPC_DRAIN_MS = 25_000;
/** For the body of a request. */
const BODY_MS = 30_000;
/** Made once: an abort without a reason makes an exception with a stack, for every webhook. */
const BODY_ENDED = new Error('the body has come');
const UPLOAD_MS = 300_000;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Its body is a file, which takes as long as the caller's line needs. */
    slowBody?: boolean;
  }
}

export async function startGateway(deps: GatewayDeps): Promise<Gateway> {
  const { clock, random, log, reached } = deps;
  const metrics = gatewayMetrics(deps.registry);
  const objects = new GatewayObjects(deps.caches);
  const clients = new ShardClients({
    shardAddressTemplate: deps.shardAddressTemplate,
    connect: (address) => new inboxProto.InboxClient(address, credentials.createInsecure(), CHANNEL_OPTIONS),
    clock,
    log,
  });
  const inbox = new ShardInbox({ clients, tokens: deps.tokens, metrics });
  const shown = new ShownAnswers({ find: (name) => supervisor.find(name), clock, log, metrics });
  const intake = new Intake({
    store: deps.store,
    onAnswer: (channel, event, answered) => shown.show(channel, event, answered),
    objects,
    inbox,
    limits: { ...INTAKE_LIMITS, ...deps.limits?.intake },
    clock,
    random,
    log,
    metrics,
    reached,
  });
  const supervisor = new ChannelSupervisor({
    channels: deps.caches.channels,
    ...(deps.channelTypes !== undefined && { types: deps.channelTypes }),
    secrets: deps.secrets,
    publicUrl: deps.publicUrl,
    ownership: deps.ownership,
    receive: async (channel, events) => {
      await intake.receive(channel, events);
      reached('gateway/after-enqueue-before-ack');
    },
    writeStatus: async (name, status) => {
      await deps.store.applyStatus(channelResources, name, status, { fieldManager: FIELD_MANAGER });
    },
    onOwnMessage: (channel) => metrics.ownMessages.inc({ channel }),
    times: { ...KEEPER_TIMES, ...deps.limits?.keeper },
    clock,
    random,
    log,
  });
  const find = (name: string): ReturnType<ChannelSupervisor['find']> => supervisor.find(name);
  const service = new PlatformService({ find, limits: { ...PLATFORM_LIMITS, ...deps.limits?.platform }, clock, log, metrics, reached });

  const app = fastify({
    trustProxy: deps.trustProxy ?? false,
    // As long as a file may take; all other bodies have less time, by the hook below.
    requestTimeout: UPLOAD_MS,
    forceCloseConnections: 'idle',
  });
  // A caller that sends its body a byte a minute holds no connection longer than this.
  app.addHook('onRequest', async (request, reply) => {
    const { raw, headers } = request;
    const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
    if (!hasBody || raw.complete || request.routeOptions.config.slowBody === true) return;
    const ended = new AbortController();
    raw.once('end', () => ended.abort(BODY_ENDED));
    reply.raw.once('close', () => ended.abort(BODY_ENDED)); // answered unread, or the caller is gone
    clock.sleep(BODY_MS, ended.signal).then(
      () => {
        if (!raw.complete) raw.destroy();
      },
      () => {}, // it is whole, or gone
    );
  });
  let closed: Promise<void> | undefined;
  // A connection that is kept alive after its last answer would keep the server open for a minute.
  app.addHook('onSend', async (_request, reply) => {
    if (closed !== undefined) reply.header('connection', 'close');
  });
  const requests = new RequestsInHand(app);
  webhookRoutes(app, {
    find,
    synced: () => objects.synced,
    intake,
    limits: { ...WEBHOOK_LIMITS, ...deps.limits?.webhook },
    clock,
    log,
    metrics,
    reached,
  });
  const channelNamed = (name: string): Channel => {
    const channel: Channel | undefined = deps.caches.channels.get(name);
    if (channel === undefined && !objects.synced)
      throw new WaitingError('NotSynced', `cannot take the event: the Channels have not been read yet`, 1_000);
    if (channel === undefined) throw new TerminalError('ChannelMissing', `cannot take the event: there is no Channel ${name}`);
    return channel;
  };
  const context: GatewayContext = {
    receive: async (name, events) => intake.receive(channelNamed(name), events),
    stage: async (name, event, attachment) => intake.stage(channelNamed(name), event, attachment),
  };
  for (const plugin of deps.plugins ?? []) await plugin(app, context);

  const grpc = new Server({
    ...CHANNEL_OPTIONS,
    interceptors: [authenticate(deps.reviewer, 'dovecote-gateway', (caller) => caller.type === 'role' && caller.role === 'delivery')],
  });
  grpc.addService(platform.PlatformService, service.handlers());

  const close = async (): Promise<void> => {
    log.info('gateway closes');
    const drained = Promise.all([app.close(), supervisor.close()]);
    void requests.answered().then(() => app.server.closeAllConnections());
    const calls = closeServer(grpc, GRPC_DRAIN_MS);
    try {
      await abandonAfter({ ms: DRAIN_MS, what: 'finish what is in hand', clock, signal: undefined }, () => drained);
    } catch (thrown) {
      log.warn({ err: toError(thrown) }, 'work in hand is given up, platforms will send it again');
    }
    await intake.close();
    await shown.close();
    app.server.closeAllConnections();
    await drained;
    await calls;
    await service.idle();
    clients.close();
    objects.close();
  };

  const started = await Promise.allSettled([app.listen(hostPort(deps.httpListen)), listen(grpc, deps.grpcListen)]);
  const failed = started.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await close();
    throw toError(failed.reason);
  }
  const [, grpcStarted] = started;
  const { port } = app.server.address() as { port: number };
  const gateway: Gateway = {
    httpAddress: `${hostPort(deps.httpListen).host}:${port}`,
    grpcAddress: grpcStarted.status === 'fulfilled' ? grpcStarted.value : '',
    ready: () => [
      ...(closed === undefined ? [] : ['the gateway shuts down']),
      ...(objects.synced ? [] : ['the caches of Channels, MessagingGroups and AgentGroups have not synced']),
    ],
    channelProblems: () => supervisor.problems(),
    close: () => {
      closed ??= close();
      return closed;
    },
  };
  log.info({ http: gateway.httpAddress, grpc: gateway.grpcAddress }, 'gateway listens');
  return gateway;
}

function hostPort(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}
