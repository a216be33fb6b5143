import { closeSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** As much as Kubernetes keeps of a crash. */
const TAIL_BYTES = 2_048;

/** What a child writes, in a file with one predecessor (`.1`), and its last lines for the Pod's status. */
export class LogFile {
  readonly #path: string;
  readonly #maxBytes: number;
  #file: number;
  #size: number;
  #tail = Buffer.alloc(0);

  /** `maxBytes`: from there on a new file is begun. */
  constructor(path: string, maxBytes: number) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#file = openSync(path, 'a', 0o600);
    this.#size = statSync(path).size;
  }

  write(chunk: Buffer): void {
    if (this.#size > 0 && this.#size + chunk.length > this.#maxBytes) {
      closeSync(this.#file);
      renameSync(this.#path, `${this.#path}.1`);
      this.#file = openSync(this.#path, 'a', 0o600);
      this.#size = 0;
    }
    writeSync(this.#file, chunk);
    this.#size += chunk.length;
    this.#tail = Buffer.concat([this.#tail, chunk]).subarray(-TAIL_BYTES);
  }

  /** The last whole lines since the last call. */
  takeTail(): string {
    const text = this.#tail.toString('utf8');
    const cut = this.#tail.length === TAIL_BYTES ? text.slice(text.indexOf('\n') + 1) : text;
    this.#tail = Buffer.alloc(0);
    return cut.trimEnd();
  }

  close(): void {
    closeSync(this.#file);
  }
}
