import type { Log } from '../lifecycle/log.ts';
import { quoted } from './failure.ts';

const TAIL_BYTES = 2_048;
/** What one process may put into the log. */
const LOGGED_BYTES = 64 * 1024;

/** What a server writes to its standard error: some of it into the log, the end of it into the reason of a crash. */
export class StderrTail {
  readonly #log: Log;
  #tail: Buffer = Buffer.alloc(0);
  #logged = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  add(chunk: Buffer): void {
    const end = chunk.subarray(-TAIL_BYTES);
    this.#tail = Buffer.concat([this.#tail, end]).subarray(-TAIL_BYTES);
    if (this.#logged >= LOGGED_BYTES) return;
    this.#logged += chunk.length;
    // It may print its environment, and with it the Pod's token in the address of the proxy.
    this.#log.debug({ stderr: quoted(chunk.toString('utf8', 0, 4_096), 4_096) }, 'an MCP server wrote to its standard error');
  }

  /** One line; empty when nothing was written. */
  text(): string {
    // The end says more than the beginning: a stack trace closes with its message in few languages, but a log always does.
    return quoted(this.#tail.toString().slice(-300));
  }
}
