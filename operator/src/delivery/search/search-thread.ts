import { Worker } from 'node:worker_threads';
import type { SearchCalls, SearchNews, SearchReply, SearchRequest } from './search-protocol.ts';

/** The search thread could not do it. `code` is SQLite's, or empty. */
export class SearchError extends Error {
  override readonly name = 'SearchError';
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The near end of the search thread: started by its first call, and again by the next one after it died. */
export class SearchThread {
  readonly #folder: string;
  readonly #onMade: (agent: string) => void;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #last = 0;
  #closed = false;

  /** `onMade`: the file of that agent was made anew, and holds nothing yet. */
  constructor(folder: string, onMade: (agent: string) => void) {
    this.#folder = folder;
    this.#onMade = onMade;
  }

  /** Calls that have no answer yet. */
  get pending(): number {
    return this.#waiting.size;
  }

  /** Rejects with SearchError, or with what ended the thread. */
  call<M extends keyof SearchCalls>(method: M, ...args: Parameters<SearchCalls[M]>): Promise<ReturnType<SearchCalls[M]>> {
    if (this.#closed) return Promise.reject(new SearchError('', 'the search is closed'));
    this.#last += 1;
    const request: SearchRequest = { id: this.#last, method, args };
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(request.id, { resolve, reject });
    this.#worker ??= this.#start();
    this.#worker.postMessage(request);
    return promise as Promise<ReturnType<SearchCalls[M]>>;
  }

  /** Lets it finish what it has, and waits for its end. */
  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    if (worker === undefined) return;
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    worker.postMessage('close');
    await ended;
  }

  #start(): Worker {
    // In the bundle it lies beside the program as a file of its own.
    const file = import.meta.url.endsWith('.ts') ? './search-worker.ts' : './search-worker.mjs';
    const worker = new Worker(new URL(file, import.meta.url), { workerData: { folder: this.#folder } });
    let reason: Error | undefined;
    worker.on('message', (reply: SearchReply | SearchNews) => {
      if ('made' in reply) {
        this.#onMade(reply.made);
        return;
      }
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if (reply.ok) waiting?.resolve(reply.value);
      else waiting?.reject(new SearchError(reply.code, reply.message));
    });
    worker.on('error', (error) => {
      reason = error;
    });
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const [id, { reject }] of this.#waiting) {
        this.#waiting.delete(id);
        reject(reason ?? new SearchError('', 'the search thread ended'));
      }
    });
    return worker;
  }
}
