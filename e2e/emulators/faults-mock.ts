/**
 * Ours, and so a mock: a proxy before an emulator that fails as told, for what no emulator does (rate limits, lost answers, broken
 * connections). Everything that is not told to fail passes through.
 */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';

export type Fault =
  /** answers in the platform's place; the platform hears nothing */
  | { readonly answer: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** the platform does it, and the connection breaks before its answer */
  | 'lose-answer'
  /** the connection breaks before the platform hears of it */
  | 'lose-request';

export interface Seen {
  readonly path: string;
  /** ms since 1970 */
  readonly at: number;
  readonly fault: Fault | undefined;
}

export class FaultsMock {
  readonly seen: Seen[] = [];
  readonly #server: Server;
  readonly #faults: { readonly path: RegExp; readonly fault: Fault }[] = [];
  #url = '';

  private constructor(target: URL) {
    this.#server = createServer((incoming, outgoing) => this.#handle(target, incoming, outgoing));
  }

  /** Listens on `host` alone, before `target` (a URL whose path is kept). */
  static async start(host: string, target: string): Promise<FaultsMock> {
    const url = new URL(target);
    const mock = new FaultsMock(url);
    await new Promise<void>((resolve, reject) => {
      mock.#server.once('error', reject);
      mock.#server.listen(0, host, resolve);
    });
    const address = mock.#server.address();
    mock.#url = `http://${host}:${typeof address === 'object' && address !== null ? address.port : 0}${url.pathname}`;
    return mock;
  }

  /** What stands in for `target`. */
  get url(): string {
    return this.#url;
  }

  /** The next call whose path matches fails so; told several times, several calls fail, in that order. */
  next(path: RegExp, fault: Fault): void {
    this.#faults.push({ path, fault });
  }

  calls(path: RegExp): readonly Seen[] {
    return this.seen.filter((call) => path.test(call.path));
  }

  #handle(target: URL, incoming: IncomingMessage, outgoing: ServerResponse): void {
    const path = incoming.url ?? '/';
    const at = this.#faults.findIndex((one) => one.path.test(path));
    const fault = at < 0 ? undefined : this.#faults.splice(at, 1)[0]?.fault;
    this.seen.push({ path, at: Date.now(), fault });
    if (fault === 'lose-request') {
      incoming.socket.destroy();
      return;
    }
    if (typeof fault === 'object') {
      incoming.resume();
      outgoing.writeHead(fault.answer, fault.headers);
      outgoing.end(fault.body ?? '');
      return;
    }
    const { host: _, ...headers } = incoming.headers;
    const forwarded = request({ host: target.hostname, port: target.port, path, method: incoming.method, headers }, (answer) => {
      if (fault === 'lose-answer') {
        answer.resume();
        answer.once('end', () => incoming.socket.destroy());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.once('error', () => incoming.socket.destroy());
    incoming.pipe(forwarded);
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}
