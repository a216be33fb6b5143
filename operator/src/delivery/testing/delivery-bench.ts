/** A whole delivery for tests: real files, real gRPC on loopback, the embedded store; controller, runner and gateway are scripted. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentGroup, Session } from '@dovecote/crds';
import { cellPaths, inbox, platform, sessions as sessionsProto } from '@dovecote/proto';
import { credentials, Server } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import { EmbeddedStore } from '../../kube/embedded/embedded-store.ts';
import { agentGroups, channels, sessions } from '../../kube/resource-types.ts';
import { systemClock } from '../../lib/clock.ts';
import { noCrash } from '../../lib/crash-point.ts';
import { bearer, closeServer, listen, unary } from '../../lib/grpc.ts';
import { silentLog } from '../../lib/log.ts';
import { systemRandom } from '../../lib/random.ts';
import type { Limits } from '../limits.ts';
import { type Delivery, type DeliveryDeps, startDelivery } from '../start.ts';
import { type Answer, ScriptedRunner } from './scripted-runner.ts';
import { plainReviewer, plainTokens } from './tokens.ts';

export const TEST_LIMITS: Partial<Limits> = { reserveBytes: 4096, lowSpaceBytes: 4096, pollMs: 50 };

export interface Bench {
  readonly root: string;
  readonly store: EmbeddedStore;
  readonly delivery: () => Delivery;
  /** what reached the scripted gateway, in order */
  readonly delivered: platform.DeliverRequest[];
  readonly runners: Map<string, ScriptedRunner>;
  /** awake sessions whose runner is not started by the scripted controller */
  readonly manual: Set<string>;
  inbox(): inbox.InboxClient;
  sessions(): sessionsProto.SessionsClient;
  enqueue(
    event: Partial<inbox.InboundEvent> & { eventId: string },
    request?: Partial<inbox.EnqueueRequest>,
  ): Promise<inbox.EnqueueResponse>;
  /** undefined: refused */
  amend(platformMessageId: string, request?: Partial<inbox.AmendRequest>): Promise<inbox.AmendResponse | undefined>;
  agent(name: string, spec?: object): Promise<AgentGroup>;
  runner(session: string, answer?: Answer): ScriptedRunner;
  session(name: string): Promise<Session | undefined>;
  restart(deps?: Partial<DeliveryDeps>): Promise<void>;
  stop(): Promise<void>;
  close(): Promise<void>;
}

export async function createBench(
  options: {
    limits?: Partial<Limits>;
    deps?: Partial<DeliveryDeps>;
    controller?: boolean;
    /** What the scripted gateway answers; delivered when it says nothing. */
    deliver?: (request: platform.DeliverRequest) => platform.DeliverResponse['outcome'];
  } = {},
): Promise<Bench> {
  const root = mkdtempSync(join(tmpdir(), 'dovecote-delivery-'));
  const store = new EmbeddedStore({
    path: join(root, 'store.db'),
    namespace: 'test',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });
  const delivered: platform.DeliverRequest[] = [];
  const gateway = new Server();
  gateway.addService(platform.PlatformService, {
    deliver: (call, callback) => {
      delivered.push(call.request);
      const done = { $case: 'delivered', value: { platformMessageId: `p-${call.request.idempotencyKey}`, more: false } } as const;
      callback(null, { outcome: options.deliver?.(call.request) ?? done });
    },
    deliverFile: (_call, callback) => callback(null, { outcome: undefined }),
    settle: (_call, callback) =>
      callback(null, { verdict: platform.SettleResponse_Verdict.NOT_SENT, platformMessageId: '', more: false, policy: '' }),
    typing: (_call, callback) => callback(null, {}),
    preview: (_call, callback) =>
      callback(null, { outcome: { $case: 'failed', value: { reason: 'Unsupported', message: '', afterMs: 0, maybeSent: false } } }),
  } satisfies platform.PlatformServer);
  const gatewayAddress = await listen(gateway, '127.0.0.1:0');
  const volume = join(root, 'volume');
  const deps = (): DeliveryDeps => ({
    store,
    shard: '0',
    root: volume,
    listen: '127.0.0.1:0',
    gatewayAddress,
    reviewer: plainReviewer,
    tokens: plainTokens('role:delivery'),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    registry: new Registry(),
    reached: noCrash,
    ...options.deps,
    limits: { ...TEST_LIMITS, ...options.limits },
  });
  let delivery: Delivery | undefined = await startDelivery(deps());
  const clients: { close(): void }[] = [];
  const running = (): Delivery => {
    if (delivery === undefined) throw new Error('delivery was stopped');
    return delivery;
  };
  const runners = new Map<string, ScriptedRunner>();
  const manual = new Set<string>();
  const stopping = new AbortController();
  const metadata = await bearer(plainTokens('role:gateway'), 'dovecote-delivery');
  let inboxClient: inbox.InboxClient | undefined;

  const bench: Bench = {
    root: volume,
    store,
    delivery: running,
    delivered,
    runners,
    manual,
    inbox: () => {
      inboxClient ??= new inbox.InboxClient(running().address, credentials.createInsecure());
      return inboxClient;
    },
    sessions: () => {
      const client = new sessionsProto.SessionsClient(running().address, credentials.createInsecure());
      clients.push(client);
      return client;
    },
    enqueue: (event, request) => {
      const client = bench.inbox();
      return unary(client, client.enqueue, enqueueRequest(event, request), { metadata, deadlineMs: 60_000 });
    },
    amend: (platformMessageId, request) => {
      const client = bench.inbox();
      const whole: inbox.AmendRequest = {
        agentGroup: 'helper',
        scope: 'web/c1',
        eventId: `amend-${platformMessageId}`,
        channel: 'web',
        chat: 'c1',
        platformMessageId,
        change: { $case: 'deleted', value: true },
        senderName: 'Ada',
        receivedAtMs: 0,
        ...request,
      };
      return unary(client, client.amend, whole, { metadata, deadlineMs: 60_000 }).catch(() => undefined);
    },
    agent: async (name, spec = {}) => {
      await store.create(
        agentGroups,
        { metadata: { name }, spec: { provider: { type: 'demo', demo: {} }, ...spec } },
        { fieldManager: 'test' },
      );
      const agent = await store.applyStatus(agentGroups, name, { shards: ['0'] }, { fieldManager: 'test' });
      if (agent === undefined) throw new Error('the agent was not made');
      // Delivery's cache is behind the store by a moment.
      await until(async () => (await bench.amend('probe', { agentGroup: name })) !== undefined);
      return agent;
    },
    runner: (session, answer = (row) => `echo ${(JSON.parse(row.content) as { text: string }).text}`) => {
      const paths = cellPaths(volume, session);
      const runner = new ScriptedRunner({
        address: running().address,
        session,
        podUid: `pod-${session}`,
        in: paths.in,
        out: paths.out,
        answer,
      });
      runners.set(session, runner);
      return runner;
    },
    session: (name) => store.get(sessions, name),
    stop: async () => {
      for (const runner of runners.values()) runner.close();
      runners.clear();
      for (const client of [...clients.splice(0), ...(inboxClient === undefined ? [] : [inboxClient])]) client.close();
      inboxClient = undefined;
      await delivery?.close();
      delivery = undefined;
    },
    restart: async (other) => {
      await bench.stop();
      delivery = await startDelivery({ ...deps(), ...other });
    },
    close: async () => {
      stopping.abort();
      await controller;
      await bench.stop();
      await closeServer(gateway, 100);
      await store.close();
      rmSync(root, { recursive: true, force: true });
    },
  };
  const controller = options.controller === false ? Promise.resolve() : control(bench, stopping.signal);
  return bench;
}

/** Test double of the controller: an awake Session gets a scripted runner, one put to sleep loses it and is Asleep. */
async function control(bench: Bench, signal: AbortSignal): Promise<void> {
  const states = new Map<string, boolean>();
  while (!signal.aborted) {
    const { items } = await bench.store.list(sessions);
    for (const { metadata, spec } of items) {
      const { name } = metadata;
      const ended = bench.runners.get(name)?.exited === true;
      if ((states.get(name) === spec.awake && !(spec.awake && (ended || !bench.runners.has(name)))) || bench.manual.has(name)) continue;
      try {
        if (ended) {
          bench.runners.get(name)?.close();
          bench.runners.delete(name);
        }
        if (spec.awake && !bench.runners.has(name)) bench.runner(name);
        if (!spec.awake) {
          bench.runners.get(name)?.close();
          bench.runners.delete(name);
        }
      } catch {
        continue; // delivery is restarting
      }
      const status = spec.awake ? { phase: 'Awake', podUid: `pod-${name}` } : { phase: 'Asleep' };
      await bench.store.applyStatus(sessions, name, status, { fieldManager: 'scripted-controller' });
      states.set(name, spec.awake);
    }
    await systemClock.sleep(20, signal).catch(() => {});
  }
}

export async function localChannel(store: EmbeddedStore, spec: object = {}): Promise<void> {
  await store.create(channels, { metadata: { name: 'web' }, spec: { type: 'local', local: {}, ...spec } }, { fieldManager: 'test' });
}

export function enqueueRequest(
  event: Partial<inbox.InboundEvent> & { eventId: string },
  request: Partial<inbox.EnqueueRequest> = {},
): inbox.EnqueueRequest {
  const whole: inbox.InboundEvent = {
    kind: inbox.InboundKind.CHAT,
    lane: inbox.Lane.CHAT,
    channel: 'web',
    chat: 'c1',
    thread: '',
    sender: 'u1',
    senderName: 'Ada',
    platformMessageId: `m-${event.eventId}`,
    text: 'hello',
    attachments: [],
    quoted: undefined,
    receivedAtMs: 0,
    traceparent: '',
    attachmentErrors: [],
    ...event,
  };
  return {
    agentGroup: 'helper',
    scope: `${encodeURIComponent(whole.channel)}/${encodeURIComponent(whole.chat)}`,
    event: whole,
    trigger: true,
    onlyIfEngaged: false,
    ifNotEngaged: inbox.IfNotEngaged.DROP,
    reason: 'Test',
    ...request,
  };
}

/** Waits for a condition, for at most four minutes: the machine may be busy. */
export async function until(condition: () => boolean | Promise<boolean>, what = 'the condition'): Promise<void> {
  const giveUp = AbortSignal.timeout(240_000);
  for (let pause = 5; !(await condition()); pause = Math.min(pause * 1.3, 40)) {
    if (giveUp.aborted) throw new Error(`${what} did not come about within four minutes`);
    await systemClock.sleep(pause, giveUp).catch(() => {});
  }
}
