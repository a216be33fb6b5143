/** Stands where the proxy stands: in front of the model mock, below /anthropic, with faults of its own. For tests only. */
import { createServer, type IncomingHttpHeaders, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Seen {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Record<string, unknown>;
}

/** Answers a request itself; false: it is passed on. */
export type Fault = (response: ServerResponse, nth: number) => boolean;

export class ProxyStandIn {
  readonly seen: Seen[] = [];
  fault: Fault = () => false;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(upstream: () => string): Promise<ProxyStandIn> {
    const server = createServer((incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const body = Buffer.concat(chunks);
        standIn.seen.push({
          url: incoming.url ?? '',
          headers: incoming.headers,
          body: JSON.parse(body.toString()) as Record<string, unknown>,
        });
        if (standIn.fault(outgoing, standIn.seen.length)) return;
        const target = new URL((incoming.url ?? '').replace(/^\/anthropic/, ''), upstream());
        const onward = request(target, { method: 'POST', headers: { ...incoming.headers, host: target.host } }, (answer) => {
          outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.on('aborted', () => outgoing.destroy()).pipe(outgoing);
        });
        onward.on('error', () => outgoing.destroy()); // a runner may still ask while the test ends the mock
        onward.end(body);
      });
    });
    const standIn = new ProxyStandIn(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return standIn;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Ends a stream after its first event, as a network that breaks does. */
export function breakStream(response: ServerResponse): boolean {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(sse('message_start', { message: { model: 'm', usage: { input_tokens: 3, output_tokens: 1 }, content: [] } }));
  response.write(sse('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }));
  response.write(sse('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'half an ans' } }), () => response.destroy());
  return true;
}

/** Refuses in the API's form. */
export function refuseWith(status: number, type: string, headers: Readonly<Record<string, string>> = {}, message = 'RAW'): Fault {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify({ type: 'error', error: { type, message } }));
    return true;
  };
}

/** Answers with these bytes as a stream, which then ends. */
export function streamOf(...parts: readonly string[]): Fault {
  return (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(parts.join(''));
    return true;
  };
}

export function sse(type: string, data: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
}
