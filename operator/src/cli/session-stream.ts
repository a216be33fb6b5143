import { CommandError } from './api-client.ts';

/** Reading may go on below this. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

/** One Exec or Mcp call of a session's, as the gateway offers it over a WebSocket. */
export class SessionStream {
  readonly #socket: WebSocket;
  readonly #opened = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<void>();
  readonly #sleep: (ms: number) => Promise<void>;

  /** `onMessage` gets each encoded message of the other side. */
  constructor(
    server: { readonly url: string; readonly token: string },
    path: string,
    { onMessage, sleep }: { readonly onMessage: (message: Uint8Array) => void; readonly sleep: (ms: number) => Promise<void> },
  ) {
    const url = `${server.url.replace(/\/+$/, '').replace(/^http/, 'ws')}${path}`;
    // The headers are an addition of Node's to the browsers' API, which its types do not know.
    const init = { headers: { authorization: `Bearer ${server.token}` } } as unknown as string[];
    this.#sleep = sleep;
    this.#socket = new WebSocket(url, init);
    this.#socket.binaryType = 'arraybuffer';
    this.#over.promise.catch(() => {}); // `ended` tells it
    this.#opened.promise.catch(() => {});
    let refused: CommandError | undefined;
    this.#socket.onmessage = ({ data }) => {
      if (typeof data === 'string') refused = new CommandError((JSON.parse(data) as { message: string }).message);
      else onMessage(new Uint8Array(data as ArrayBuffer));
    };
    this.#socket.onopen = () => this.#opened.resolve();
    this.#socket.onerror = () => {
      const error = new CommandError(
        `cannot open ${path} of ${server.url}: is the address right, and does the token allow "create" on sessions/exec?`,
      );
      this.#opened.reject(error);
      refused ??= error;
    };
    this.#socket.onclose = () => {
      if (refused === undefined) this.#over.resolve();
      else this.#over.reject(refused);
    };
  }

  /** Resolves when the other side has ended it; rejects with CommandError when it was refused. */
  get ended(): Promise<void> {
    return this.#over.promise;
  }

  /** Resolves when more may be sent. */
  async send(message: Uint8Array): Promise<void> {
    await this.#opened.promise;
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(message);
    while (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES && this.#socket.readyState === WebSocket.OPEN) await this.#sleep(20);
  }

  /** Nothing more will be sent. */
  async end(): Promise<void> {
    await this.#opened.promise;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send('end');
  }

  close(): void {
    this.#socket.close();
  }
}
