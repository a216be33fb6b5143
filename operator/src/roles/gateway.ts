/** The gateway as both a cluster and local mode compose it: platforms' webhooks and the web chat on one HTTP server. */

import { containerService, inbox, sessions, usage } from '@dovecote/proto';
import type { Authorizer } from '../gateway/api/authorize.ts';
import { stagedOf } from '../gateway/api/file-routes.ts';
import { apiRoutes } from '../gateway/api/routes.ts';
import { sessionFileRoutes } from '../gateway/api/session-file-routes.ts';
import { sessionStreamRoutes } from '../gateway/api/session-stream-routes.ts';
import { ShardedClients } from '../gateway/api/sharded-clients.ts';
import { usageRoutes } from '../gateway/api/usage-routes.ts';
import { localAnswer, localMessage } from '../gateway/channels/local/local.ts';
import type { Ownership } from '../gateway/channels/ownership.ts';
import { type Gateway, type GatewayPlugin, startGateway } from '../gateway/start.ts';
import { createKubeMetrics, type KubeMetrics } from '../kube/metrics.ts';
import { agentGroups, channels, messagingGroups } from '../kube/resource-types.ts';
import type { ResourceStore } from '../kube/store.ts';
import { bearer } from '../lib/grpc.ts';
import type { TokenReviewer, TokenSource } from '../lib/identity.ts';
import { TaskGroup } from '../lib/task-group.ts';
import { watched } from './caches.ts';
import type { Foundation } from './foundation.ts';
import { secretValues } from './secret-values.ts';

export interface GatewayComposition extends Foundation {
  readonly store: ResourceStore;
  readonly http: string;
  readonly grpc: string;
  readonly shardAddressTemplate: string;
  readonly tokens: TokenSource;
  readonly reviewer: TokenReviewer;
  readonly authorizer: Authorizer;
  readonly ownership: Ownership;
  readonly publicUrl?: string | undefined;
  readonly trustProxy?: boolean | undefined;
  readonly kubeMetrics?: KubeMetrics | undefined;
}

const neverOpened = (): Promise<never> => Promise.reject(new Error('the file was sent ahead of its message'));

export async function composeGateway(deps: GatewayComposition): Promise<Gateway & { readonly died: AbortSignal }> {
  const { store, clock, log } = deps;
  const group = new TaskGroup();
  const kubeMetrics = deps.kubeMetrics ?? createKubeMetrics(deps.registry);
  const caches = {
    channels: watched(channels, { ...deps, group, kubeMetrics }),
    messagingGroups: watched(messagingGroups, { ...deps, group, kubeMetrics }),
    agentGroups: watched(agentGroups, { ...deps, group, kubeMetrics }),
  };
  const clients = new ShardedClients(sessions.SessionsClient, deps.shardAddressTemplate);
  const containers = new ShardedClients(containerService.ContainerServiceClient, deps.shardAddressTemplate);
  const usageClients = new ShardedClients(usage.UsageClient, deps.shardAddressTemplate);
  const shards = (): string[] => [...new Set(caches.agentGroups.list().flatMap(({ status }) => status?.shards ?? []))];
  const metadata = () => bearer(deps.tokens, 'dovecote-delivery');
  const streams = new AbortController();
  const plugin: GatewayPlugin = async (app, gateway) => {
    app.addHook('preClose', async () => streams.abort());
    const containersDeps = { authorizer: deps.authorizer, clients: () => containers.of(shards()), metadata, log };
    await app.register(sessionFileRoutes(containersDeps));
    await app.register(usageRoutes({ ...containersDeps, clients: () => usageClients.of(shards()) }));
    await app.register(sessionStreamRoutes({ ...containersDeps, stop: streams.signal }));
    await app.register(
      apiRoutes({
        authorizer: deps.authorizer,
        clients: () => clients.of(shards()),
        metadata,
        localChannels: () =>
          caches.channels
            .list()
            .filter(({ spec }) => spec.type === 'local')
            .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)),
        receive: async ({ user, files, ...said }) => {
          const attachments = files.map((file) => ({ ...file, staged: stagedOf(file), open: neverOpened }));
          const message = localMessage({ ...said, sender: user, senderName: user, sentAtMs: clock.now(), attachments });
          const { channel } = said;
          const receipts = await gateway.receive(channel, [message]);
          return { eventId: message.eventId, refused: receipts.flatMap(({ drops }) => drops.map(({ detail }) => detail)) };
        },
        answer: async ({ channel, chat, id, session, seq, option, user }) => {
          const pointer = { session, questionSeq: seq, option };
          const press = localAnswer({ channel, chat, id, sender: user, pointer, pressedAtMs: clock.now() });
          const [receipt] = await gateway.receive(channel, [press]);
          const { drops = [], answered } = receipt ?? {};
          const late = answered?.outcome === inbox.AnswerOutcome.ALREADY_ANSWERED;
          return {
            eventId: press.eventId,
            refused: drops.map(({ detail }) => detail),
            outcome: answered === undefined ? 'refused' : late ? 'already-answered' : 'stored',
            label: answered?.label ?? '',
            answeredBy: answered?.answeredBy ?? '',
          };
        },
        stage: async ({ channel, chat, user, bytes, ...file }) => {
          // Whom a message of this person would reach is whom its file goes to.
          const message = localMessage({ channel, chat, id: 'upload', text: '', sender: user, senderName: user, sentAtMs: clock.now() });
          return gateway.stage(channel, message, { ...file, open: async () => bytes });
        },
        clock,
        stop: streams.signal,
        log,
      }),
    );
  };
  const gateway = await startGateway({
    ...deps,
    caches,
    secrets: secretValues(store),
    httpListen: deps.http,
    grpcListen: deps.grpc,
    plugins: [plugin],
  });
  return {
    ...gateway,
    died: group.signal,
    close: async () => {
      await gateway.close();
      clients.close();
      containers.close();
      usageClients.close();
      await group.close();
    },
  };
}
