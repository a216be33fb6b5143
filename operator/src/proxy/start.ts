/**
 * The way of a session Pod to its model. The Pod shows its projected token; the proxy knows session, agent and Secret, and puts the
 * key in. Bytes stream through unbuffered both ways. The key is never in a Pod, an answer, a log or an error.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { Counter, type Registry } from 'prom-client';
import { Agent, request } from 'undici';
import { toError } from '../lib/errors.ts';
import type { TokenReviewer } from '../lib/identity.ts';
import type { Log } from '../lib/log.ts';

/** Where a session's model is and what opens it. */
export interface Upstream {
  readonly baseURL: string;
  readonly apiKey: string;
}

export type UpstreamLookup =
  | { readonly found: true; readonly upstream: Upstream }
  /** `sentence` goes to the runner and from there to people: it names the Secret, never its content. */
  | { readonly found: false; readonly sentence: string };

export interface ProxyDeps {
  /** host:port */
  readonly listen: string;
  readonly reviewer: TokenReviewer;
  readonly upstreamOf: (session: string) => Promise<UpstreamLookup>;
  readonly log: Log;
  readonly registry: Registry;
}

export interface RunningProxy {
  readonly address: string;
  close(): Promise<void>;
}

/** What a runner may ask for; everything else of the provider's API (files, admin) stays shut. */
const ALLOWED: readonly { readonly method: string; readonly path: RegExp }[] = [
  { method: 'POST', path: /^\/v1\/messages(\/count_tokens)?(\?beta=true)?$/ },
  { method: 'GET', path: /^\/v1\/models(\/[A-Za-z0-9._-]+)?(\?[A-Za-z0-9=&_-]*)?$/ },
];
const PREFIX = '/anthropic';
/** Request headers that reach the provider. Whatever else the Pod sends (cookies, forwarded-for, its own keys) does not. */
const FORWARDED = ['accept', 'anthropic-beta', 'anthropic-version', 'content-length', 'content-type', 'user-agent'];
/** Response headers that belong to one connection only. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'set-cookie',
]);

/** The form of the provider's own errors, so that its client library reads ours. */
function refuse(response: ServerResponse, status: number, type: string, message: string): void {
  if (response.headersSent) {
    response.destroy(); // an answer is half out: only a cut connection tells the client that it is not whole
    return;
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ type: 'error', error: { type, message } }));
}

function tokenOf(headers: IncomingHttpHeaders): string | undefined {
  const bearer = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];
  const key = headers['x-api-key'];
  return bearer ?? (typeof key === 'string' ? key : undefined);
}

export async function startProxy(deps: ProxyDeps): Promise<RunningProxy> {
  const { log } = deps;
  // No timeout on the body: a model may think for minutes between two events, and the runner has its own limits.
  const agent = new Agent({ bodyTimeout: 0, headersTimeout: 600_000, connectTimeout: 10_000, connections: 256 });
  const requests = new Counter({
    name: 'dovecote_proxy_requests_total',
    help: 'Model requests by outcome',
    labelNames: ['outcome'],
    registers: [deps.registry],
  });

  async function forward(incoming: IncomingMessage, response: ServerResponse): Promise<string> {
    const path = incoming.url?.startsWith(`${PREFIX}/`) ? incoming.url.slice(PREFIX.length) : undefined;
    if (path === undefined || !ALLOWED.some((rule) => rule.method === incoming.method && rule.path.test(path))) {
      refuse(response, 404, 'not_found_error', 'the proxy serves only messages, token counts and models');
      return 'not_served';
    }
    const token = tokenOf(incoming.headers);
    const caller = token === undefined ? undefined : await deps.reviewer.review(token, 'dovecote-proxy');
    if (caller?.type !== 'session') {
      refuse(response, 401, 'authentication_error', 'the token is not one of an awake session');
      return 'unauthenticated';
    }
    const lookup = await deps.upstreamOf(caller.session);
    if (!lookup.found) {
      refuse(response, 403, 'permission_error', lookup.sentence);
      return 'no_credential';
    }
    const { baseURL, apiKey } = lookup.upstream;
    const headers: Record<string, string> = { 'x-api-key': apiKey };
    for (const name of FORWARDED) {
      const value = incoming.headers[name];
      if (typeof value === 'string') headers[name] = value;
    }
    const aborted = new AbortController();
    response.once('close', () => aborted.abort());
    const upstream = await request(`${baseURL.replace(/\/+$/, '')}${path}`, {
      method: incoming.method as 'GET' | 'POST',
      headers,
      body: incoming.method === 'POST' ? incoming : null,
      dispatcher: agent,
      signal: aborted.signal,
    });
    const answer = Object.entries(upstream.headers).filter(
      (entry): entry is [string, string | string[]] => entry[1] !== undefined && !HOP_BY_HOP.has(entry[0]),
    );
    response.writeHead(upstream.statusCode, Object.fromEntries(answer));
    response.flushHeaders();
    await pipeline(upstream.body, response);
    return upstream.statusCode < 400 ? 'ok' : `upstream_${upstream.statusCode}`;
  }

  const server: Server = createServer((incoming, response) => {
    forward(incoming, response).then(
      (outcome) => requests.inc({ outcome }),
      (thrown: unknown) => {
        const gone = response.destroyed && !response.writableEnded;
        requests.inc({ outcome: gone ? 'client_gone' : 'upstream_unreachable' });
        if (!gone) log.warn({ err: toError(thrown).message }, 'model request failed');
        refuse(response, 502, 'api_error', 'the model provider could not be reached');
      },
    );
  });
  server.requestTimeout = 0; // a long upload is the runner's business
  const address = await new Promise<string>((resolve, reject) => {
    const [host = '127.0.0.1', port = '0'] = splitAddress(deps.listen);
    server.once('error', reject);
    server.listen({ host, port: Number(port) }, () => {
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? `${host}:${bound.port}` : deps.listen);
    });
  });
  return {
    address,
    close: async () => {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      await agent.destroy();
    },
  };
}

function splitAddress(address: string): [string, string] {
  const colon = address.lastIndexOf(':');
  return [address.slice(0, colon), address.slice(colon + 1)];
}
