/**
 * Commands that outlive the call that started them: the model's background jobs and those of callers of ContainerService. They
 * live as long as this process: a Pod that ends takes them with it.
 */
import type { Clock } from '../lifecycle/clock.ts';
import type { Random } from '../lifecycle/random.ts';
import type { TerminalSize } from './command-process.ts';
import { Job } from './job.ts';
import { type CommandEnd, runCommand } from './run-command.ts';

export const MAX_RUNNING = 16;
const MAX_KEPT = 48;
const RING_BYTES = 256 * 1024;
const FOR_EVER_MS = 7 * 86_400_000;

export interface JobStart {
  readonly command: readonly string[];
  /** as people and models see it */
  readonly title: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** after which it is ended; absent: it runs as long as it wants, and no longer than its Pod */
  readonly timeoutMs?: number;
  /** it gets a terminal of this size; absent: pipes */
  readonly terminal?: TerminalSize;
}

/** So many run already. */
export class TooManyJobsError extends Error {
  override readonly name = 'TooManyJobsError';
}

export class Jobs {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #onChange: (running: readonly Job[]) => void;
  readonly #instance: string;
  readonly #jobs = new Map<string, Job>();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  #count = 0;

  /** `onChange` hears of each job that starts or ends, but not of those that end with this process. Must not throw. */
  constructor(deps: { readonly clock: Clock; readonly random: Random; readonly onChange?: (running: readonly Job[]) => void }) {
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#onChange = deps.onChange ?? (() => {});
    this.#instance = deps.random.id(4);
  }

  /** Resolves once it runs. Rejects with TooManyJobsError, NoTerminalsError, or ENOENT and the like when it cannot be started. */
  async start(options: JobStart): Promise<Job> {
    const running = this.#runningNow().length;
    if (running >= MAX_RUNNING) throw new TooManyJobsError(`${running} jobs run already; end one of them first`);
    this.#count += 1;
    const id = `${this.#instance}-${this.#count}`;
    const stop = new AbortController();
    const started = Promise.withResolvers<Job>();
    let job: Job | undefined;
    const run = runCommand(options.command, {
      cwd: options.cwd,
      env: options.env,
      timeoutMs: options.timeoutMs ?? FOR_EVER_MS,
      ...(options.terminal !== undefined && { terminal: options.terminal }),
      clock: this.#clock,
      random: this.#random,
      signal: AbortSignal.any([stop.signal, this.#closing.signal]),
      onOutput: (stream, data) => job?.wrote(stream, data),
      onStart: (child) => {
        const { title, timeoutMs } = options;
        const startedAt = this.#clock.now();
        const deadline = timeoutMs === undefined ? undefined : startedAt + timeoutMs;
        job = new Job({ id, title, startedAt, deadline, ringBytes: RING_BYTES, child, stop: () => stop.abort() });
        // One that cannot be started has no pid, and is told by the rejection.
        if (child.pid !== undefined) started.resolve(job);
      },
    });
    const watched: Promise<unknown> = run
      .then(
        (end: CommandEnd) => job?.ended(end),
        (e: unknown) => {
          started.reject(e);
          job?.ended({ code: null, signal: null, timedOut: false });
        },
      )
      .finally(() => {
        this.#running.delete(watched);
        this.#changed();
      });
    this.#running.add(watched);
    const begun = await started.promise;
    this.#jobs.set(id, begun);
    this.#forgetOld();
    this.#changed();
    return begun;
  }

  get(id: string): Job | undefined {
    return this.#jobs.get(id);
  }

  /** Whether an earlier process of this session may have started it. */
  isOfEarlierProcess(id: string): boolean {
    return /^[0-9a-z]{4}-\d{1,9}$/.test(id) && !id.startsWith(`${this.#instance}-`);
  }

  /** Oldest first; those that ended too, as long as they are kept. */
  list(): readonly Job[] {
    return [...this.#jobs.values()];
  }

  /** Ends them all and waits for it. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the runner ends'));
    await Promise.all(this.#running);
  }

  #runningNow(): readonly Job[] {
    return this.list().filter((job) => job.end === undefined);
  }

  #changed(): void {
    if (!this.#closing.signal.aborted) this.#onChange(this.#runningNow());
  }

  #forgetOld(): void {
    for (const [id, job] of this.#jobs) {
      if (this.#jobs.size <= MAX_KEPT) return;
      if (job.end !== undefined) this.#jobs.delete(id);
    }
  }
}
