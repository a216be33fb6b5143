/**
 * Test only: stands before an emulator and does what emulators cannot: refuse, stall, break off, lose an answer after the work was done,
 * and answer methods that they do not know. A mock: what it says is our reading of the platform's documentation.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export interface PlatformCall {
  /** Last part of the path: chat.postMessage, sendMessage. */
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** ms since 1970 */
  readonly at: number;
}

export type Fault =
  | { readonly type: 'answer'; readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body: unknown }
  /** Takes the request and never answers. */
  | { readonly type: 'hang' }
  /** Breaks the connection without having done anything. */
  | { readonly type: 'reset' }
  /** Lets the platform do it, then breaks the connection. */
  | { readonly type: 'lose-answer' };

export class MockPlatformFaults {
  readonly calls: PlatformCall[] = [];
  url = '';
  readonly #upstream: string;
  readonly #faults = new Map<string, Fault[]>();
  readonly #methods = new Map<string, (call: PlatformCall) => unknown>();
  readonly #server: Server;

  private constructor(upstream: string) {
    this.#upstream = upstream;
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  /** `upstream` is the emulator's address without a path; empty: there is none, every method must be given. */
  static async start(upstream: string): Promise<MockPlatformFaults> {
    const mock = new MockPlatformFaults(upstream);
    await new Promise<void>((resolve) => mock.#server.listen(0, '127.0.0.1', resolve));
    const address = mock.#server.address();
    mock.url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    return mock;
  }

  /** What happens to the next call of `method`; several wait in line. */
  next(method: string, ...faults: readonly Fault[]): void {
    this.#faults.set(method, [...(this.#faults.get(method) ?? []), ...faults]);
  }

  /** Answers `method` from now on, with JSON. */
  answer(method: string, answer: (call: PlatformCall) => unknown): void {
    this.#methods.set(method, answer);
  }

  callsOf(method: string): readonly PlatformCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    const method = path.split('?')[0]?.split('/').at(-1) ?? '';
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const call: PlatformCall = { method, path, headers: request.headers, body: Buffer.concat(chunks), at: Date.now() };
    this.calls.push(call);
    const fault = this.#faults.get(method)?.shift();
    if (fault?.type === 'hang') return;
    if (fault?.type === 'reset') {
      request.socket.destroy();
      return;
    }
    if (fault?.type === 'answer') {
      response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers });
      response.end(JSON.stringify(fault.body));
      return;
    }
    const scripted = this.#methods.get(method);
    if (scripted !== undefined) {
      const body = JSON.stringify(await scripted(call));
      if (fault?.type === 'lose-answer') request.socket.destroy();
      else {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(body);
      }
      return;
    }
    const { host, connection, 'content-length': length, 'transfer-encoding': encoding, ...headers } = request.headers;
    const upstream = await fetch(`${this.#upstream}${path}`, {
      method: request.method ?? 'POST',
      headers: headers as Record<string, string>,
      ...(request.method !== 'GET' && { body: call.body }),
    });
    const body = Buffer.from(await upstream.arrayBuffer());
    if (fault?.type === 'lose-answer') {
      request.socket.destroy();
      return;
    }
    response.writeHead(upstream.status, { 'content-type': upstream.headers.get('content-type') ?? 'application/json' });
    response.end(body);
  }
}

/** A port that was free a moment ago, for emulators that cannot choose one. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
