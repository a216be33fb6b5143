/**
 * Reads from an answer, as it passes, what it cost. The upstream is not ours: whatever it sends, this neither throws nor holds
 * more than a bounded piece of it.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { usage } from '@dovecote/proto';
import type { Observer } from '../forward.ts';

/** An answer that is one JSON document, and a line of one that is a stream, are read up to here. */
const MAX_BYTES = { document: 8 * 2 ** 20, stream: 2 ** 18, nothing: 0, unreadable: 0 } as const;
const MAX_COUNT = 1_000_000_000;
const MAX_ITERATIONS = 100;
const NOTHING: usage.Tokens = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };
const NEWLINE = 10;
/** Events that say what was used, and the one that says that all of it was said. */
const TELLING: ReadonlySet<string> = new Set(['message_start', 'message_delta', 'message_stop']);
const EVENT_TYPE = /"type"\s*:\s*"(message_(?:start|delta|stop))"/;

export class UsageReader implements Observer {
  #form: 'stream' | 'document' | 'nothing' | 'unreadable' = 'nothing';
  #tokens: usage.Tokens = NOTHING;
  /** what the API took to sum the conversation up, which its totals leave out */
  #compactions: readonly usage.Tokens[] = [];
  #model: string | undefined;
  #complete = false;
  #pieces: Buffer[] = [];
  #size = 0;
  #event = '';

  headers(statusCode: number, headers: IncomingHttpHeaders): void {
    if (statusCode >= 400) {
      this.#complete = true; // an error costs nothing
      return;
    }
    const encoding = headers['content-encoding'];
    const type = String(headers['content-type'] ?? '');
    if (encoding !== undefined && encoding !== 'identity') this.#form = 'unreadable';
    else if (type.startsWith('text/event-stream')) this.#form = 'stream';
    else this.#form = type.startsWith('application/json') ? 'document' : 'unreadable';
  }

  chunk(chunk: Buffer): void {
    if (this.#form === 'document') this.#keep(chunk);
    if (this.#form !== 'stream') return;
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      this.#keep(chunk.subarray(from, end));
      this.#line(this.#take());
      from = end + 1;
    }
    this.#keep(chunk.subarray(from));
  }

  /** What is known when no more comes. `readable` false: it could not be read, and what was used is not known. */
  result(): { readonly tokens: usage.Tokens; readonly model: string | undefined; readonly complete: boolean; readonly readable: boolean } {
    if (this.#form === 'document') {
      const message = parse(this.#take()?.toString('utf8'));
      if (message !== undefined) {
        this.#message(message);
        this.#complete = true;
      }
    }
    const readable = this.#form !== 'unreadable';
    const tokens = this.#compactions.reduce(plus, this.#tokens);
    return { tokens, model: this.#model, complete: this.#complete && readable, readable };
  }

  /** Beyond the limit nothing is kept, and what was kept is worth nothing. */
  #keep(piece: Buffer): void {
    this.#size += piece.length;
    if (this.#size > MAX_BYTES[this.#form]) this.#pieces = [];
    else if (piece.length > 0) this.#pieces.push(piece);
  }

  #take(): Buffer | undefined {
    const whole =
      this.#size > MAX_BYTES[this.#form] ? undefined : this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#size = 0;
    return whole;
  }

  #line(line: Buffer | undefined): void {
    if (line === undefined || line.length <= 1) {
      this.#event = '';
      return;
    }
    const head = line.toString('latin1', 0, 64);
    if (head.startsWith('event:')) {
      this.#event = head.slice('event:'.length).trim();
      return;
    }
    if (!head.startsWith('data:')) return;
    // Most lines are text of the answer, and are not parsed. Some servers name no events.
    const event = this.#event !== '' ? this.#event : (EVENT_TYPE.exec(line.toString('latin1', 0, 512))?.[1] ?? '');
    if (!TELLING.has(event)) return;
    if (event === 'message_stop') this.#complete = true;
    const data = parse(line.toString('utf8', 'data:'.length));
    if (event === 'message_start') this.#message(objectOf(data?.['message']));
    else if (event === 'message_delta') this.#usage(objectOf(data?.['usage']));
  }

  #message(message: Record<string, unknown> | undefined): void {
    if (typeof message?.['model'] === 'string') this.#model = message['model'].slice(0, 128);
    this.#usage(objectOf(message?.['usage']));
  }

  /** Counts are cumulative: the latest of each stands. */
  #usage(counts: Record<string, unknown> | undefined): void {
    if (counts === undefined) return;
    this.#tokens = tokensOf(counts, this.#tokens);
    const { iterations } = counts;
    if (!Array.isArray(iterations)) return;
    const made = iterations.slice(0, MAX_ITERATIONS).map(objectOf);
    this.#compactions = made.flatMap((iteration) => (iteration?.['type'] === 'compaction' ? [tokensOf(iteration, NOTHING)] : []));
  }
}

function tokensOf(counts: Record<string, unknown>, { input, output, cacheRead, cacheWrite }: usage.Tokens): usage.Tokens {
  return {
    input: count(counts['input_tokens']) ?? input,
    output: count(counts['output_tokens']) ?? output,
    cacheRead: count(counts['cache_read_input_tokens']) ?? cacheRead,
    cacheWrite: count(counts['cache_creation_input_tokens']) ?? cacheWrite,
  };
}

function plus(a: usage.Tokens, b: usage.Tokens): usage.Tokens {
  return {
    input: a.input + b.input,
    output: a.output + b.output,
    cacheRead: a.cacheRead + b.cacheRead,
    cacheWrite: a.cacheWrite + b.cacheWrite,
  };
}

const count = (value: unknown): number | undefined =>
  Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= MAX_COUNT ? Number(value) : undefined;

const objectOf = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;

function parse(text: string | undefined): Record<string, unknown> | undefined {
  try {
    return text === undefined ? undefined : objectOf(JSON.parse(text));
  } catch {
    return undefined; // not ours to mend
  }
}
