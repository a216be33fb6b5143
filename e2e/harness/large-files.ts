/** Stands before a platform's emulator and serves files of any size from no memory; the rest goes through. */
import { createServer, type Server } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const BLOCK = Buffer.alloc(64 * 1024, 'x');

export class LargeFiles {
  url = '';
  readonly #server: Server;

  private constructor(upstream: () => string) {
    this.#server = createServer((request, response) => {
      const [, size] = /^\/large\/(\d+)/.exec(request.url ?? '') ?? [];
      const work =
        size === undefined
          ? forward(upstream(), request, response)
          : pipeline(
              Readable.from(
                (function* () {
                  for (let left = Number(size); left > 0; left -= BLOCK.byteLength)
                    yield BLOCK.subarray(0, Math.min(left, BLOCK.byteLength));
                })(),
              ),
              response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size }),
            );
      work.catch(() => response.destroy());
    });
  }

  /** `upstream` without a path, asked at each call. */
  static async start(upstream: () => string): Promise<LargeFiles> {
    const files = new LargeFiles(upstream);
    await new Promise<void>((resolve) => files.#server.listen(0, '127.0.0.1', resolve));
    const address = files.#server.address();
    files.url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    return files;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

async function forward(
  upstream: string,
  request: import('node:http').IncomingMessage,
  response: import('node:http').ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { host, connection, 'content-length': length, 'transfer-encoding': encoding, ...headers } = request.headers;
  const answer = await fetch(`${upstream}${request.url}`, {
    method: request.method ?? 'GET',
    headers: headers as Record<string, string>,
    ...(request.method !== 'GET' && { body: Buffer.concat(chunks) }),
  });
  response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'application/json' });
  response.end(Buffer.from(await answer.arrayBuffer()));
}
