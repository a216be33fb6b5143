import { createServer } from 'node:http';
import type { Registry } from 'prom-client';

/** What keeps a process from being ready; empty: it is. Each a sentence. */
export type Ready = () => readonly string[];

/**
 * /healthz (the process answers), /readyz (200, or 503 with what is missing) and /metrics. Answers with the address it listens on.
 * `listen` is host:port.
 */
export async function serveHealth(options: {
  listen: string;
  ready: Ready;
  registry: Registry;
}): Promise<{ address: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type });
      response.end(body);
    };
    if (request.url === '/healthz') return answer(200, 'text/plain', 'ok\n');
    if (request.url === '/readyz') {
      const missing = options.ready();
      return answer(missing.length === 0 ? 200 : 503, 'application/json', `${JSON.stringify({ ready: missing.length === 0, missing })}\n`);
    }
    if (request.url === '/metrics') {
      options.registry.metrics().then(
        (text) => answer(200, options.registry.contentType, text),
        () => answer(500, 'text/plain', 'the metrics could not be collected\n'),
      );
      return;
    }
    answer(404, 'text/plain', 'only /healthz, /readyz and /metrics\n');
  });
  const colon = options.listen.lastIndexOf(':');
  const host = options.listen.slice(0, colon);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port: Number(options.listen.slice(colon + 1)) }, resolve);
  });
  const bound = server.address();
  return {
    address: typeof bound === 'object' && bound !== null ? `${host}:${bound.port}` : options.listen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
