/** The door: which route a request takes, how long it may take, and what is said, logged and counted of it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { toError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { type AuthenticationDeps, authenticate, proxyTokenOf, type SessionCaller, tokenOf } from './authentication.ts';
import { plainTarget, servePlain } from './egress/plain-request.ts';
import type { Resolve } from './egress/resolve.ts';
import { tunnel, tunnelTarget } from './egress/tunnel.ts';
import type { Exchange } from './forward.ts';
import type { ProxyLimits } from './limits.ts';
import { MCP_PREFIX, mcpServerName, serveMcp } from './mcp-route.ts';
import type { ProxyMetrics } from './metrics.ts';
import { MODEL_PREFIX, type ModelRouteDeps, modelPath, serveModel } from './model-route.ts';
import { ClientGoneError, OpenRequests, TimeUpError } from './open-requests.ts';
import { answerRefusal, answerRefusalRaw, Refusal } from './refusal.ts';

export interface ServerDeps extends AuthenticationDeps, ModelRouteDeps {
  /** host:port */
  readonly listen: string;
  readonly dispatcher: Dispatcher;
  readonly resolve: Resolve;
  readonly limits: ProxyLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: ProxyMetrics;
}

type RouteName = 'model' | 'mcp' | 'egress' | 'none';

/** What a request asks for, before it is known who asks. */
interface Route {
  readonly name: RouteName;
  readonly through: boolean;
  readonly token: string | undefined;
  readonly maxMs: number;
  /** fields of its log line */
  readonly about: object;
  /** Answers with the upstream's status. */
  serve(exchange: Exchange, caller: SessionCaller): Promise<number>;
}

/** A request that was cut is over in a moment. */
const CUT_MS = 5_000;

/** Answers with the address it listens on. */
export async function serveProxy(deps: ServerDeps): Promise<{ readonly address: string; close(): Promise<void> }> {
  const { log, metrics, limits, clock } = deps;
  const open = new OpenRequests({ max: limits.openPerSession, clock });

  /** Throws Refusal for what is not served. */
  function routeOf(incoming: IncomingMessage): Route {
    const { url = '', method, headers } = incoming;
    if (url.startsWith(MODEL_PREFIX)) {
      const path = modelPath(method, url);
      const serve: Route['serve'] = (exchange, caller) => serveModel(exchange, caller, path, deps);
      return { name: 'model', through: false, token: tokenOf(headers), maxMs: limits.modelMs, about: {}, serve };
    }
    if (url.startsWith(MCP_PREFIX)) {
      const server = mcpServerName(method, url);
      const serve: Route['serve'] = (exchange, caller) => serveMcp(exchange, caller, server, deps);
      return { name: 'mcp', through: false, token: tokenOf(headers), maxMs: limits.mcpMs, about: { server }, serve };
    }
    if (url.startsWith('/')) throw Refusal.notServed('the proxy serves /anthropic/ and /mcp/, and what goes through it');
    const target = plainTarget(incoming);
    const about = { host: target.host, port: target.port };
    const serve: Route['serve'] = (exchange, caller) => servePlain(exchange, target, caller, deps);
    return { name: 'egress', through: true, token: proxyTokenOf(headers), maxMs: limits.egressMs, about, serve };
  }

  /** Each request ends here, once: as a number, and, unless it went well, as a line. */
  function settle(name: RouteName, outcome: string, fields: object, cause?: unknown): void {
    metrics.requests.inc({ route: name, outcome });
    if (name === 'egress') log.info({ ...fields, outcome }, 'egress ended');
    else if (cause !== undefined) log.warn({ ...fields, outcome, err: toError(cause).message }, 'request of a session was not served');
  }

  function refusalOf(thrown: unknown, name: RouteName, gone: AbortSignal): Refusal | undefined {
    if (thrown instanceof Refusal) return thrown;
    // First, because an answer that is cut in the middle closes the client's connection too.
    if (thrown instanceof TimeUpError) return Refusal.badUpstream('time_up', 'the request took longer than any may', { cause: thrown });
    if (gone.aborted) return undefined;
    return Refusal.badUpstream('broken_off', name === 'model' ? 'the model provider broke off' : 'the other side broke off', {
      cause: thrown,
    });
  }

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new ClientGoneError('the client is gone'));
    });
    let route: Route | undefined;
    let fields = {};
    try {
      route = routeOf(incoming);
      fields = route.about;
      const { name, serve, maxMs } = route;
      const caller = await authenticate(route.token, deps, route.through);
      fields = { session: caller.session, agentGroup: caller.agentGroup.metadata.name, ...route.about };
      metrics.open.inc({ route: name });
      const status = await open
        .run(caller, { maxMs, gone: gone.signal }, (signal) => serve({ incoming, response, signal }, caller))
        .finally(() => metrics.open.dec({ route: name }));
      settle(name, status < 400 ? 'ok' : `upstream_${status}`, fields);
    } catch (thrown) {
      const name = route?.name ?? 'none';
      const refusal = refusalOf(thrown, name, gone.signal);
      settle(name, refusal?.outcome ?? 'client_gone', fields, refusal === undefined ? undefined : (refusal.cause ?? refusal));
      if (refusal === undefined) response.destroy();
      else answerRefusal(response, refusal, route?.through ?? false);
    }
  }

  async function handleConnect(incoming: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const gone = new AbortController();
    client.on('error', () => {}); // its end says the same
    let answered = false;
    client.once('close', () => {
      if (!answered) gone.abort(new ClientGoneError('the client is gone')); // of an open tunnel it is the end of both sides
    });
    const onOpen = (): void => {
      answered = true;
    };
    let fields = {};
    try {
      const target = tunnelTarget(incoming);
      fields = { host: target.host, port: target.port };
      const caller = await authenticate(proxyTokenOf(incoming.headers), deps, true);
      fields = { session: caller.session, agentGroup: caller.agentGroup.metadata.name, ...fields };
      metrics.open.inc({ route: 'egress' });
      const traffic = await open
        .run(caller, { maxMs: limits.egressMs, gone: gone.signal }, (signal) =>
          tunnel({ client, head, signal, onOpen }, target, caller, deps),
        )
        .finally(() => metrics.open.dec({ route: 'egress' }));
      settle('egress', 'ok', { ...fields, ...traffic });
    } catch (thrown) {
      const refusal = refusalOf(thrown, 'egress', gone.signal);
      settle('egress', refusal?.outcome ?? 'client_gone', fields, refusal);
      if (refusal === undefined || answered) client.destroy();
      else answerRefusalRaw(client, refusal);
    }
  }

  const server: Server = createServer((incoming, response) => void handle(incoming, response));
  server.on('connect', (incoming, client, head) => void handleConnect(incoming, client, head));
  server.requestTimeout = 0; // a long upload is the runner's business; headers have their own time
  const tunnels = new Set<Duplex>();
  server.on('connect', (_incoming, client) => {
    tunnels.add(client);
    client.once('close', () => tunnels.delete(client));
  });
  const address = await listening(server, deps.listen);
  return {
    address,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      await open.drained(limits.drainMs);
      server.closeAllConnections();
      for (const client of tunnels) client.destroy(); // the server counts them no more
      await closed;
      await open.drained(CUT_MS); // what was cut tells its usage before the ledger closes
    },
  };
}

function listening(server: Server, address: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const colon = address.lastIndexOf(':');
    const host = address.slice(0, colon);
    server.once('error', reject);
    server.listen({ host, port: Number(address.slice(colon + 1)) }, () => {
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? `${host}:${bound.port}` : address);
    });
  });
}
