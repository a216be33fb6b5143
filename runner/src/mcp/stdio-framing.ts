/**
 * The frames of MCP over stdio: one JSON-RPC message per line, in UTF-8. Whoever writes the other end is not trusted: a line that
 * never ends must not be kept.
 */

/** A line was longer than allowed. Nothing after it can be read. */
export class LineTooLongError extends Error {
  override readonly name = 'LineTooLongError';
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    super(`a line is longer than ${maxBytes} bytes`);
    this.maxBytes = maxBytes;
  }
}

const NEWLINE = 0x0a;
const RETURN = 0x0d;

/** Cuts a stream of bytes into lines, without their ends. Holds at most one unfinished line of `maxBytes`. */
export class LineReader {
  readonly #maxBytes: number;
  #held: Buffer[] = [];
  #heldBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The lines that `chunk` completes; empty ones are left out. Throws LineTooLongError, after which the reader is of no use. */
  *push(chunk: Buffer): Generator<Buffer> {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      const line = this.#complete(chunk.subarray(from, at));
      from = at + 1;
      if (line.length > 0) yield line;
    }
    if (from < chunk.length) this.#hold(chunk.subarray(from));
  }

  #complete(end: Buffer): Buffer {
    this.#hold(end);
    const line = this.#held.length === 1 ? end : Buffer.concat(this.#held, this.#heldBytes);
    this.#held = [];
    this.#heldBytes = 0;
    return line.at(-1) === RETURN ? line.subarray(0, -1) : line;
  }

  #hold(piece: Buffer): void {
    this.#heldBytes += piece.length;
    if (this.#heldBytes > this.#maxBytes) {
      this.#held = [];
      throw new LineTooLongError(this.#maxBytes);
    }
    this.#held.push(piece);
  }
}

/** A message as it goes over the wire. JSON escapes line ends within strings, so that one message is one line. */
export function frame(message: unknown): string {
  return `${JSON.stringify(message)}\n`;
}
