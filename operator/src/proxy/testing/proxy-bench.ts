/** A whole proxy for tests: real sockets, real upstreams on loopback, real gRPC; delivery's ledger is scripted. */
import { createServer, type Server as HttpServer, type IncomingMessage, type RequestListener } from 'node:http';
import { type AgentGroup, type AgentGroupSpecInput, AgentGroup as Kind, parseSpec, type Session } from '@dovecote/crds';
import { usage } from '@dovecote/proto';
import { Server } from '@grpc/grpc-js';
import { Registry } from 'prom-client';
import { systemClock } from '../../lib/clock.ts';
import { closeServer, handleUnary, listen, StatusError } from '../../lib/grpc.ts';
import { silentLog } from '../../lib/log.ts';
import { systemRandom } from '../../lib/random.ts';
import { type ProxyDeps, type RunningProxy, startProxy } from '../start.ts';

/** Test double of delivery's ledger: what it was told, and what it answers. */
export interface ScriptedLedger {
  readonly admitted: usage.AdmitRequest[];
  readonly finished: usage.FinishRequest[];
  /** instead of letting everything in; a StatusError is its failure */
  answer: () => usage.AdmitResponse | Promise<usage.AdmitResponse>;
  /** throws what telling an end fails with */
  take: () => void;
  /** how far the proxy may run ahead, as each answer says; undefined: not at all */
  headroom: usage.Headroom | undefined;
}

export interface ProxyBench {
  readonly proxy: RunningProxy;
  readonly ledger: ScriptedLedger;
  readonly secrets: Map<string, Record<string, string>>;
  readonly registry: Registry;
  /** From now on the session `s1`, whose token is "pod-token", is of this agent; undefined: of none. */
  agent(spec?: Omit<AgentGroupSpecInput, 'provider'> & { provider?: AgentGroupSpecInput['provider'] }, generation?: number): void;
  forget(): void;
  /** A server that we did not write our side of: answers by `handler`. Its URL. */
  upstream(handler: RequestListener): Promise<string>;
  request(path: string, init?: RequestInit): Promise<Response>;
  metric(name: string, labels?: object): Promise<number>;
  close(): Promise<void>;
}

export const TOKEN = 'pod-token';

export async function createProxyBench(deps: Partial<ProxyDeps> = {}): Promise<ProxyBench> {
  const closers: (() => Promise<void>)[] = [];
  const ledger: ScriptedLedger = {
    admitted: [],
    finished: [],
    answer: () => ({ admitted: true, sentence: '', retryAtMs: 0, headroom: ledger.headroom }),
    take: () => {},
    headroom: undefined,
  };
  const delivery = new Server();
  const unexpected = (): void => {};
  delivery.addService(usage.UsageService, {
    admit: handleUnary(async (request: usage.AdmitRequest) => {
      const answer = await ledger.answer();
      ledger.admitted.push(request);
      return answer;
    }, unexpected),
    finish: handleUnary(async (request: usage.FinishRequest) => {
      ledger.take();
      ledger.finished.push(request);
      return { headroom: ledger.headroom };
    }, unexpected),
    listUsage: handleUnary(async (): Promise<usage.ListUsageResponse> => {
      throw new StatusError(12, 'not asked by the proxy');
    }, unexpected),
  } satisfies usage.UsageServer);
  const address = await listen(delivery, '127.0.0.1:0');
  closers.push(() => closeServer(delivery, 100));

  let agentGroup: AgentGroup | undefined;
  const secrets = new Map<string, Record<string, string>>([['anthropic', { 'api-key': 'the-key\n' }]]);
  const registry = new Registry();
  const sessions = new Map<string, Session>();
  const session = (name: string): Session =>
    ({ metadata: { name }, spec: { agentGroupRef: 'helper', agentGroupUid: 'uid-1' } }) as unknown as Session;
  for (const name of ['s1', ...Array.from({ length: 50 }, (_, i) => `many-${i}`)]) sessions.set(name, session(name));
  const proxy = await startProxy({
    listen: '127.0.0.1:0',
    reviewer: {
      review: async (token, audience) => {
        if (audience !== 'dovecote-proxy') return undefined;
        if (token === TOKEN) return { type: 'session', session: 's1', podUid: 'p1', agentGroup: 'helper' };
        const name = /^token-of-(.+)$/.exec(token)?.[1];
        return name === undefined ? undefined : { type: 'session', session: name, podUid: 'p', agentGroup: 'helper' };
      },
    },
    sessions,
    agentGroups: { get: (name) => (name === 'helper' ? agentGroup : undefined) },
    secrets: async (name) => secrets.get(name),
    shardAddressTemplate: address,
    tokens: { token: async () => 'role' },
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    registry,
    ...deps,
  });
  const bench: ProxyBench = {
    proxy,
    ledger,
    secrets,
    registry,
    agent: (spec = {}, generation = 1) => {
      agentGroup = {
        metadata: { name: 'helper', uid: 'uid-1', generation },
        spec: parseSpec(Kind, { provider: { type: 'demo' }, ...spec }),
        status: { shards: ['0'] },
      } as AgentGroup;
    },
    forget: () => {
      agentGroup = undefined;
    },
    upstream: async (handler) => {
      const server = createServer(handler);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      closers.push(() => closeHttp(server));
      return `http://127.0.0.1:${portOf(server)}`;
    },
    request: (path, init = {}) =>
      fetch(`http://${proxy.address}${path}`, { ...init, headers: { authorization: `Bearer ${TOKEN}`, ...init.headers } }),
    metric: async (name, labels = {}) => {
      const found = (await registry.getSingleMetric(name)?.get())?.values.find((value) =>
        Object.entries(labels).every(([key, wanted]) => (value.labels as Record<string, unknown>)[key] === wanted),
      );
      return found?.value ?? 0;
    },
    close: async () => {
      await proxy.close();
      for (const close of closers.splice(0)) await close();
    },
  };
  bench.agent();
  return bench;
}

export const anthropic = (baseURL: string) => ({
  provider: { type: 'anthropic' as const, anthropic: { baseURL, credentialsRef: { name: 'anthropic' } } },
});

export function portOf(server: HttpServer): number {
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('the server does not listen');
  return address.port;
}

export async function closeHttp(server: HttpServer): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

export async function bodyOf(incoming: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of incoming) body += String(chunk);
  return body;
}

/** Waits for a condition, for at most four minutes: the machine may be busy. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const giveUp = AbortSignal.timeout(240_000);
  while (!(await condition())) {
    if (giveUp.aborted) throw new Error(`${what} did not come about within four minutes`);
    await systemClock.sleep(5, giveUp).catch(() => {});
  }
}
