/** A request for http://… through the proxy, as tools send it: passed on as it is, to the address that was checked. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { SessionCaller } from '../authentication.ts';
import type { Exchange } from '../forward.ts';
import { Refusal } from '../refusal.ts';
import { parseTarget, type Target } from './allowed-hosts.ts';
import { watchIdle } from './idle.ts';
import { addressesOf } from './resolve.ts';
import { dial, type TunnelDeps } from './tunnel.ts';

export interface PlainTarget extends Target {
  readonly path: string;
}

/** Of one connection only. `host` is said anew from the target: a tool must not reach one host and name another. */
const KEPT_BACK: ReadonlySet<string> = new Set([
  'connection',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-dovecote-proxy',
]);
const METHODS: ReadonlySet<string | undefined> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** Throws Refusal. */
export function plainTarget({ url = '', method }: IncomingMessage): PlainTarget {
  const wrong = (sentence: string) => new Refusal({ status: 400, type: 'invalid_request_error', outcome: 'not_served' }, sentence);
  const [, authority = '', path = ''] = /^http:\/\/([^/?#]+)([/?][^#\s]*)?$/i.exec(url) ?? [];
  const target = authority.includes('@') ? undefined : parseTarget(authority, 80);
  if (target === undefined) throw wrong('the proxy takes http://host/path, and CONNECT for all else');
  if (!METHODS.has(method)) throw wrong(`the proxy does not pass ${method ?? 'such a method'} on`);
  return { ...target, path: path.startsWith('/') ? path : `/${path}` };
}

/** Answers with the upstream's status. Throws Refusal, or the stream's error. */
export async function servePlain(
  { incoming, response, signal }: Exchange,
  target: PlainTarget,
  caller: SessionCaller,
  deps: TunnelDeps,
): Promise<number> {
  const { host, port, path } = target;
  const socket = await dial(target, await addressesOf(target, caller, deps), deps, signal);
  try {
    watchIdle(socket, deps.limits.egressIdleMs, deps.clock, () => socket.destroy(new Error('nothing passed')));
    const headers = {
      ...endToEnd(incoming.headers),
      // For GET and DELETE Node would send such a body bare, as what the host takes for the next request.
      ...(incoming.headers['transfer-encoding'] !== undefined && { 'transfer-encoding': 'chunked' }),
      host: port === 80 ? host : `${host}:${port}`,
    };
    const outgoing = httpRequest({ createConnection: () => socket, method: incoming.method, path, headers, signal });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once('response', resolve);
      outgoing.once('error', reject);
    });
    // A host may answer before it has read everything: what becomes of the rest is not what decides.
    pipeline(incoming, outgoing).catch(() => {});
    const answer = await answered.catch((e: unknown) => {
      signal.throwIfAborted();
      throw Refusal.badUpstream('upstream_unreachable', `${host}:${port} did not answer`, { cause: e });
    });
    response.writeHead(answer.statusCode ?? 502, endToEnd(answer.headers));
    await pipeline(answer, response);
    return answer.statusCode ?? 502;
  } finally {
    socket.destroy();
  }
}

function endToEnd(headers: IncomingMessage['headers']): Record<string, string | string[]> {
  const named = new Set((headers.connection ?? '').toLowerCase().split(/\s*,\s*/));
  return Object.fromEntries(
    Object.entries(headers).filter(
      (entry): entry is [string, string | string[]] => entry[1] !== undefined && !KEPT_BACK.has(entry[0]) && !named.has(entry[0]),
    ),
  );
}
