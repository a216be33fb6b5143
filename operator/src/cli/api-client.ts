/** The gateway's HTTP API as the command line uses it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where a running local mode says how to reach it, below its state folder. Mode 0600: it has the token. */
export const RUNTIME_FILE = 'runtime.json';

export interface Runtime {
  readonly url: string;
  readonly token: string;
  readonly pid: number;
}

/** A sentence for the person at the terminal; the command exits 1 with it. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** undefined when nothing was started with this state folder, or it has ended. */
export function runningLocal(stateFolder: string): Runtime | undefined {
  try {
    const runtime = JSON.parse(readFileSync(join(stateFolder, RUNTIME_FILE), 'utf8')) as Runtime;
    process.kill(runtime.pid, 0); // throws when there is no such process
    return runtime;
  } catch {
    return undefined;
  }
}

export class ApiClient {
  readonly #url: string;
  readonly #token: string;

  constructor(server: { readonly url: string; readonly token: string }) {
    this.#url = server.url.replace(/\/+$/, '');
    this.#token = server.token;
  }

  /** Throws CommandError with the server's own sentence. */
  async request(
    path: string,
    init: {
      readonly method?: string;
      readonly body?: unknown;
      /** instead of `body`: sent as it is */
      readonly bytes?: Blob | ReadableStream;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<Response> {
    const response = await fetch(`${this.#url}${path}`, {
      method: init.method ?? 'GET',
      headers: { authorization: `Bearer ${this.#token}`, ...(init.body !== undefined && { 'content-type': 'application/json' }) },
      ...(init.body !== undefined && { body: JSON.stringify(init.body) }),
      ...(init.bytes !== undefined && { body: init.bytes, duplex: 'half' }),
      ...(init.signal && { signal: init.signal }),
    }).catch((e: unknown) => {
      if (init.signal?.aborted) throw e;
      throw new CommandError(`cannot reach ${this.#url}: is it running, and is the address right?`, { cause: e });
    });
    if (response.ok) return response;
    const body = (await response.json().catch(() => ({}))) as { message?: string };
    throw new CommandError(body.message ?? `${this.#url} answered ${response.status}`);
  }

  async json<T>(path: string, init: { readonly method?: string; readonly body?: unknown } = {}): Promise<T> {
    return (await (await this.request(path, init)).json()) as T;
  }
}

/** Server-sent events of a response body. Ends when the body ends. */
export async function* serverSentEvents(
  response: Response,
): AsyncGenerator<{ readonly id: string; readonly event: string; readonly data: string }> {
  let buffer = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    buffer += decoder.decode(chunk as Uint8Array, { stream: true });
    for (let end = buffer.indexOf('\n\n'); end >= 0; end = buffer.indexOf('\n\n')) {
      const fields = new Map(
        buffer
          .slice(0, end)
          .split('\n')
          .filter((line) => !line.startsWith(':'))
          .map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
      );
      buffer = buffer.slice(end + 2);
      if (fields.has('data')) yield { id: fields.get('id') ?? '', event: fields.get('event') ?? 'message', data: fields.get('data') ?? '' };
    }
  }
}
