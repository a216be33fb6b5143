/**
 * Ours, and so a mock: the wire before the model emulator. It notes what passes, fails as told, and adds what the emulator leaves out:
 * figures of a cache, which here holds every request up to its end, and of reasoning. Streams pass as they come.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { Transform } from 'node:stream';
import type { Usage } from '@dovecote/proto';

export interface Asked {
  readonly headers: IncomingHttpHeaders;
  readonly body: Record<string, unknown>;
  /** what the answer said that it took; undefined: it failed */
  usage: Usage | undefined;
}

interface Refusal {
  readonly status: number;
  readonly type: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type Figures = Record<string, unknown>;

export class MockModelWire {
  readonly asked: Asked[] = [];
  readonly #server: Server;
  readonly #refusals: Refusal[] = [];
  #cached = 0;

  private constructor(upstream: string) {
    this.#server = createServer((incoming, outgoing) => this.#handle(upstream, incoming, outgoing));
  }

  static async start(upstream: string): Promise<MockModelWire> {
    const wire = new MockModelWire(upstream);
    await new Promise<void>((resolve) => wire.#server.listen(0, '127.0.0.1', resolve));
    return wire;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  /** The next request is answered so, and the emulator hears nothing of it. */
  refuse(refusal: Refusal): void {
    this.#refusals.push(refusal);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #handle(upstream: string, incoming: IncomingMessage, outgoing: ServerResponse): void {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = Buffer.concat(chunks);
      const asked: Asked = { headers: incoming.headers, body: JSON.parse(body.toString()) as Asked['body'], usage: undefined };
      this.asked.push(asked);
      const refusal = this.#refusals.shift();
      if (refusal !== undefined) {
        outgoing.writeHead(refusal.status, { 'content-type': 'application/json', ...refusal.headers });
        outgoing.end(JSON.stringify({ type: 'error', error: { type: refusal.type, message: 'RAW WORDS OF THE API' } }));
        return;
      }
      const { host: _, ...headers } = incoming.headers;
      request(new URL(incoming.url ?? '/', upstream), { method: incoming.method, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.on('aborted', () => outgoing.destroy());
        answer.pipe(this.#withFigures(asked)).pipe(outgoing);
      })
        .on('error', () => outgoing.destroy())
        .end(body);
    });
  }

  #withFigures(asked: Asked): Transform {
    const read = this.#cached;
    const written = JSON.stringify(asked.body).length;
    this.#cached += written;
    let rest = '';
    return new Transform({
      transform(chunk: Buffer, _encoding, done) {
        const events = (rest + chunk.toString()).split('\n\n');
        rest = events.pop() ?? '';
        done(null, events.map((event) => `${addFigures(event, asked, read, written)}\n\n`).join(''));
      },
      flush(done) {
        done(null, rest);
      },
    });
  }
}

function addFigures(event: string, asked: Asked, read: number, written: number): string {
  return event.replace(/^data: (.*)$/m, (line, json: string) => {
    const data = JSON.parse(json) as { type: string; message?: { usage: Figures }; usage?: Figures };
    if (data.type === 'message_start' && data.message !== undefined) {
      Object.assign(data.message.usage, { cache_read_input_tokens: read, cache_creation_input_tokens: written });
      const inputTokens = Number(data.message.usage['input_tokens']);
      asked.usage = { inputTokens, outputTokens: 0, cacheReadTokens: read, cacheWriteTokens: written };
    } else if (data.type === 'message_delta' && data.usage !== undefined && asked.usage !== undefined) {
      const outputTokens = Number(data.usage['output_tokens']);
      const reasoningTokens = Math.floor(outputTokens / 2);
      data.usage['output_tokens_details'] = { thinking_tokens: reasoningTokens };
      asked.usage = { ...asked.usage, outputTokens, reasoningTokens };
    } else return line;
    return `data: ${JSON.stringify(data)}`;
  });
}
