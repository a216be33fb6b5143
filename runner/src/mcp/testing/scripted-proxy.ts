/** The part of the proxy that a runner's MCP client meets: it knows the addresses, and lets only the Pod's token through. For tests only. */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ScriptedProxy {
  readonly url: string;
  /** what a Pod must show */
  token: string;
  /** by server name; a function answers by itself */
  readonly targets: Map<string, string | ((request: IncomingMessage, response: ServerResponse) => void)>;
  close(): Promise<void>;
}

export async function startScriptedProxy(token: string, host = '127.0.0.1'): Promise<ScriptedProxy> {
  const server = createServer((incoming, outgoing) => {
    const target = proxy.targets.get(/^\/mcp\/([^/]+)$/.exec(incoming.url ?? '')?.[1] ?? '');
    if (incoming.headers.authorization !== `Bearer ${proxy.token}`) refuse(outgoing, 401, 'show a token of this session');
    else if (target === undefined) refuse(outgoing, 404, 'no such server');
    else if (typeof target === 'function') target(incoming, outgoing);
    else pass(target, incoming, outgoing);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const proxy: ScriptedProxy = {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    token,
    targets: new Map(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return proxy;
}

function pass(target: string, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { authorization: _, host: __, ...headers } = incoming.headers;
  const upstream = request(target, { method: incoming.method, headers }, (response) => {
    outgoing.writeHead(response.statusCode ?? 502, response.headers);
    response.pipe(outgoing);
    response.on('error', () => outgoing.destroy());
  });
  upstream.on('error', () => {
    if (outgoing.headersSent) outgoing.destroy();
    else refuse(outgoing, 502, 'the server cannot be reached');
  });
  outgoing.on('close', () => upstream.destroy());
  incoming.pipe(upstream);
}

/** In the form of the real one. */
function refuse(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ type: 'error', error: { type: 'api_error', message } }));
}
