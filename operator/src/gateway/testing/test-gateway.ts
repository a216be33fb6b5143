/** Test only: a gateway with a scripted delivery on one side, and whatever a test plugs in on the other. */

import { platform } from '@dovecote/proto';
import { credentials, Metadata } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import { systemClock } from '../../lib/clock.ts';
import { noCrash } from '../../lib/crash-point.ts';
import { unary } from '../../lib/grpc.ts';
import type { TokenReviewer, TokenSource } from '../../lib/identity.ts';
import { silentLog } from '../../lib/log.ts';
import { systemRandom } from '../../lib/random.ts';
import { soleOwner } from '../channels/ownership.ts';
import { type Gateway, type GatewayDeps, startGateway } from '../start.ts';
import type { HandCaches } from './objects.ts';
import { ScriptedInbox } from './scripted-inbox.ts';

/** A token reads "<role> <audience>". */
export const reviewer: TokenReviewer = {
  review: async (token, audience) => {
    const [role, forAudience] = token.split(' ');
    if (forAudience !== audience || (role !== 'gateway' && role !== 'delivery')) return undefined;
    return { type: 'role', role };
  },
};
const tokensOf = (role: string): TokenSource => ({ token: async (audience) => `${role} ${audience}` });

export interface TestGateway {
  readonly gateway: Gateway;
  readonly inbox: ScriptedInbox;
  readonly registry: Registry;
  /** What was written to Channel.status, latest last, by name. */
  readonly statuses: { readonly name: string; readonly status: ChannelStatusWrite }[];
  readonly secrets: Map<string, Record<string, string>>;
  readonly http: string;
  post(channel: string, body: string | Buffer, headers?: Record<string, string>): Promise<Response>;
  deliver(request: Partial<platform.DeliverRequest>): Promise<platform.DeliverResponse>;
  /** `announced`: what the call says that it will send; the truth when absent */
  deliverFile(request: Partial<platform.DeliverRequest>, bytes: readonly Buffer[], announced?: number): Promise<platform.DeliverResponse>;
  settle(request: Partial<platform.DeliverRequest>, firstAttemptAtMs: number): Promise<platform.SettleResponse>;
  typing(request: platform.TypingRequest): Promise<platform.TypingResponse>;
  preview(request: Partial<platform.PreviewRequest>): Promise<platform.PreviewResponse>;
  close(): Promise<void>;
}

export interface ChannelStatusWrite {
  readonly account?: string;
  readonly path?: string;
  readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[];
}

export async function testGateway(
  caches: HandCaches,
  options: Partial<Omit<GatewayDeps, 'caches' | 'registry'>> & {
    readonly inbox?: ScriptedInbox;
    readonly secretValues?: Readonly<Record<string, Record<string, string>>>;
  } = {},
): Promise<TestGateway> {
  const inbox = options.inbox ?? (await ScriptedInbox.start(reviewer));
  const statuses: TestGateway['statuses'] = [];
  const secrets = new Map(Object.entries(options.secretValues ?? {}));
  const registry = new Registry();
  const gateway = await startGateway({
    store: {
      get: async () => undefined,
      applyStatus: async (_type, name, status) => {
        statuses.push({ name, status: status as ChannelStatusWrite });
        return undefined;
      },
    },
    secrets: async (name) => secrets.get(name),
    shardAddressTemplate: inbox.address,
    tokens: tokensOf('gateway'),
    reviewer,
    ownership: soleOwner,
    httpListen: '127.0.0.1:0',
    grpcListen: '127.0.0.1:0',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    reached: noCrash,
    ...options,
    caches,
    registry,
  });
  const client = new platform.PlatformClient(gateway.grpcAddress, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('authorization', 'Bearer delivery dovecote-gateway');
  const call = { metadata, deadlineMs: 60_000 };
  let keys = 0;
  const full = (request: Partial<platform.DeliverRequest>): platform.DeliverRequest => {
    keys += 1;
    return {
      channel: '',
      chat: '',
      thread: '',
      kind: platform.OutboundKind.CHAT,
      content: '',
      part: 0,
      idempotencyKey: `session/${keys}/0`,
      targetMessageId: '',
      attempt: 1,
      traceparent: '',
      replyToMessageId: '',
      ...request,
    };
  };
  const http = `http://${gateway.httpAddress}`;
  return {
    gateway,
    inbox,
    registry,
    statuses,
    secrets,
    http,
    post: (name, body, headers = {}) =>
      fetch(`${http}/channels/${name}`, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } }),
    deliver: (request) => unary(client, client.deliver, full(request), call),
    deliverFile: (request, bytes, announced = bytes.reduce((sum, chunk) => sum + chunk.byteLength, 0)) =>
      new Promise((resolve, reject) => {
        const stream = client.deliverFile(metadata, (error, response) => (error === null ? resolve(response) : reject(error)));
        const content: { name?: string; mimeType?: string } = JSON.parse(request.content ?? '{}');
        stream.write({
          part: {
            $case: 'info',
            value: {
              request: full({ kind: platform.OutboundKind.FILE, ...request }),
              name: content.name ?? '',
              mimeType: content.mimeType ?? '',
              sizeBytes: announced,
            },
          },
        });
        for (const chunk of bytes) stream.write({ part: { $case: 'chunk', value: chunk } });
        stream.end();
      }),
    settle: (request, firstAttemptAtMs) => unary(client, client.settle, { request: full(request), firstAttemptAtMs }, call),
    typing: (request) => unary(client, client.typing, request, call),
    preview: (request) => {
      const whole = {
        channel: '',
        chat: '',
        thread: '',
        replyToMessageId: '',
        messageId: '',
        text: '',
        idempotencyKey: 'session/t1/preview',
      };
      return unary(client, client.preview, { ...whole, ...request }, call);
    },
    close: async () => {
      client.close();
      await gateway.close();
      if (options.inbox === undefined) await inbox.close();
    },
  };
}
