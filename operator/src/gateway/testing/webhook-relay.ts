/** Test only: stands between an emulator's webhooks and the gateway, so that a test can see, repeat and spoil them. */
import { createServer, type Server } from 'node:http';

export interface RelayedCall {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** What the gateway answered; undefined while `to` is not set. */
  readonly status: number | undefined;
}

export class WebhookRelay {
  readonly calls: RelayedCall[] = [];
  /** Where calls go; undefined: they are kept and answered 200. */
  to: string | undefined;
  url = '';
  readonly #add: Readonly<Record<string, string>>;
  readonly #server: Server;

  private constructor(add: Readonly<Record<string, string>>) {
    this.#add = add;
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const headers: Record<string, string> = { ...this.#add };
        for (const [name, value] of Object.entries(request.headers)) {
          if (typeof value === 'string' && !['host', 'connection', 'content-length', 'transfer-encoding', 'expect'].includes(name))
            headers[name] = value;
        }
        this.#forward(headers, Buffer.concat(chunks)).then(
          (status) => response.writeHead(status).end(),
          () => response.writeHead(502).end(),
        );
      });
    });
  }

  /** `add` are headers that the emulator does not send and the platform would. */
  static async start(add: Readonly<Record<string, string>> = {}): Promise<WebhookRelay> {
    const relay = new WebhookRelay(add);
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    const address = relay.#server.address();
    relay.url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/`;
    return relay;
  }

  /** A call that the emulator does not make by itself. */
  async call(body: Buffer, headers: Readonly<Record<string, string>>): Promise<number> {
    return this.#forward({ ...this.#add, ...headers }, body);
  }

  /** The same call again, with its headers changed. */
  async again(call: RelayedCall, headers: Readonly<Record<string, string>> = {}): Promise<number> {
    if (this.to === undefined) throw new Error('the relay leads nowhere');
    const response = await fetch(this.to, { method: 'POST', headers: { ...call.headers, ...headers }, body: call.body });
    await response.body?.cancel();
    return response.status;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #forward(headers: Record<string, string>, body: Buffer): Promise<number> {
    let status: number | undefined;
    if (this.to !== undefined) {
      const response = await fetch(this.to, { method: 'POST', headers, body });
      await response.body?.cancel();
      status = response.status;
    }
    this.calls.push({ headers, body, status });
    return status ?? 200;
  }
}
