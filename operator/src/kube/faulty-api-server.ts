/** Test only: an HTTP server that answers lists and watches as scripted, to see what a client makes of a server's worst. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';

export type Answer = (response: ServerResponse, request: IncomingMessage) => void;

const json = (response: ServerResponse, code: number, body: object, headers: Record<string, string> = {}): void => {
  response.writeHead(code, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
};

/** One page of a list. */
export const page =
  (resourceVersion: string, items: readonly object[], more?: string): Answer =>
  (response) =>
    json(response, 200, {
      kind: 'ConfigMapList',
      apiVersion: 'v1',
      metadata: { resourceVersion, ...(more === undefined ? {} : { continue: more }) },
      items,
    });

export const refusal =
  (code: number, reason: string, headers: Record<string, string> = {}): Answer =>
  (response) =>
    json(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: `scripted ${code}` }, headers);

/** Closes the connection instead of answering, as a server does that was about to close it anyway. */
export const hangUp: Answer = (response) => response.socket?.resetAndDestroy();

/** Never answers. */
export const silence: Answer = () => {};

/** Lines of a watch, then: the stream stays open, ends, or is reset, the last two also in the middle of the last line. */
export const stream =
  (lines: readonly object[], then: 'open' | 'end' | 'end-mid-line' | 'reset' | 'reset-mid-line'): Answer =>
  (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    response.write(then.endsWith('mid-line') ? text.slice(0, -12) : text);
    if (then.startsWith('end')) response.end();
    // After the bytes are out, else the reset overtakes them.
    if (then.startsWith('reset')) setTimeout(() => response.socket?.resetAndDestroy(), 20);
  };

export class FaultyApiServer {
  /** What came, in order: `list`, `list continue=x`, `list whole` (without a limit), `watch 5`, `PATCH`. */
  readonly requests: string[] = [];
  readonly lists: Answer[] = [];
  readonly watches: Answer[] = [];
  readonly others: Answer[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(): Promise<FaultyApiServer> {
    const server = new FaultyApiServer();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get kubeConfig(): KubeConfig {
    const { port } = this.#server.address() as AddressInfo;
    const config = new KubeConfig();
    config.loadFromClusterAndUser({ name: 'faulty', server: `http://127.0.0.1:${port}`, skipTLSVerify: true }, { name: 'test' });
    return config;
  }

  get openSockets(): number {
    return this.#sockets.size;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Answers are used up in order; the last of each sort stays. */
  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { searchParams } = new URL(request.url ?? '/', 'http://x');
    const next = (answers: Answer[]): Answer => (answers.length > 1 ? answers.shift() : answers[0]) ?? refusal(500, 'NotScripted');
    if (request.method !== 'GET') {
      this.requests.push(String(request.method));
      next(this.others)(response, request);
    } else if (searchParams.get('watch') === 'true') {
      this.requests.push(`watch ${searchParams.get('resourceVersion')}`);
      next(this.watches)(response, request);
    } else {
      const more = searchParams.get('continue');
      this.requests.push(more === null ? (searchParams.has('limit') ? 'list' : 'list whole') : `list continue=${more}`);
      next(this.lists)(response, request);
    }
  }
}
