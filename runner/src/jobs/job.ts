import type { CommandProcess } from './command-process.ts';
import { signalGroup } from './end-processes.ts';
import { type OutputChunk, OutputRing } from './output-ring.ts';
import type { CommandEnd } from './run-command.ts';

/** A command that goes on by itself: looked at, fed and ended by its id. */
export class Job {
  readonly id: string;
  /** as people and models see it */
  readonly title: string;
  /** ms since 1970 */
  readonly startedAt: number;
  /** when it is ended at the latest, ms since 1970; undefined: nobody said */
  readonly deadline: number | undefined;
  readonly #output: OutputRing;
  readonly #ringBytes: number;
  readonly #holders = new Set<{ next: number }>();
  readonly #child: CommandProcess;
  readonly #stop: () => void;
  readonly #over = Promise.withResolvers<CommandEnd>();
  #end: CommandEnd | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(start: {
    readonly id: string;
    readonly title: string;
    readonly startedAt: number;
    readonly deadline: number | undefined;
    readonly ringBytes: number;
    readonly child: CommandProcess;
    readonly stop: () => void;
  }) {
    this.id = start.id;
    this.title = start.title;
    this.startedAt = start.startedAt;
    this.deadline = start.deadline;
    this.#output = new OutputRing(start.ringBytes);
    this.#ringBytes = start.ringBytes;
    this.#child = start.child;
    this.#stop = start.stop;
  }

  /** undefined while it runs. */
  get end(): CommandEnd | undefined {
    return this.#end;
  }

  /** Resolves when it has ended. */
  get over(): Promise<CommandEnd> {
    return this.#over.promise;
  }

  get output(): Pick<OutputRing, 'total' | 'oldest' | 'from'> {
    return this.#output;
  }

  /** Its input and its terminal. */
  get process(): Pick<CommandProcess, 'stdin' | 'endInput' | 'resize'> {
    return this.#child;
  }

  /** To the whole process group. */
  signal(signal: NodeJS.Signals): void {
    if (this.#end === undefined && this.#child.pid !== undefined) signalGroup(this.#child.pid, signal);
  }

  /** Ends it and all that it started, with SIGKILL. `end` is there a moment later. */
  stop(): void {
    this.#stop();
  }

  /**
   * Output from byte `at` on, as it comes; returns when the job has ended and all is said. Rejects with the signal's reason. A
   * reader that is slower than the job misses what left the ring, which the next chunk's `at` tells; one that `holds` the job holds it
   * up instead, as a full pipe would.
   */
  async *follow(at: number, signal: AbortSignal, holds = false): AsyncGenerator<OutputChunk> {
    const reader = { next: at };
    if (holds) this.#holders.add(reader);
    try {
      for (;;) {
        const { promise } = this.#changed; // before looking: what comes while a chunk is handed over must not be missed
        const chunks = this.#output.from(reader.next);
        for (const chunk of chunks) {
          yield chunk;
          reader.next = chunk.at + chunk.data.length;
          this.#pace();
        }
        if (chunks.length > 0) continue;
        if (this.#end !== undefined) return;
        await unlessAborted(promise, signal);
      }
    } finally {
      this.#holders.delete(reader);
      this.#pace();
    }
  }

  /** Resolves when it has ended or written something beyond byte `at`. Rejects with the signal's reason. */
  async moved(at: number, signal: AbortSignal): Promise<void> {
    while (this.#end === undefined && this.#output.total <= at) await unlessAborted(this.#changed.promise, signal);
  }

  /** For the keeper of jobs alone. */
  wrote(stream: OutputChunk['stream'], data: Buffer): void {
    this.#output.add(stream, data);
    this.#pace();
    this.#tell();
  }

  /** For the keeper of jobs alone. */
  ended(end: CommandEnd): void {
    this.#end = end;
    this.#over.resolve(end);
    this.#tell();
  }

  /** What a holding reader has not taken must stay in the ring: half of it is room for what the pipes bring before they stop. */
  #pace(): void {
    const behind = [...this.#holders].some(({ next }) => this.#output.total - Math.max(next, this.#output.oldest) > this.#ringBytes / 2);
    if (behind && !this.#child.paused) this.#child.pause();
    else if (!behind && this.#child.paused) this.#child.resume();
  }

  #tell(): void {
    const told = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    told.resolve();
  }
}

async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
