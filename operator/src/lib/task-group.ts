import { toError } from './errors.ts';

/** Owner of background work. A task that dies, or returns early, ends the whole group with its name: never alone and unseen. */
export class TaskGroup {
  readonly #tasks = new Map<string, Promise<void>>();
  readonly #controller = new AbortController();
  readonly signal: AbortSignal = this.#controller.signal;

  run(name: string, task: (signal: AbortSignal) => Promise<void>): void {
    const fail = (what: string, cause?: unknown): void => {
      if (!this.signal.aborted) this.#controller.abort(new Error(`task ${name} ${what}`, { cause }));
    };
    this.#tasks.set(
      name,
      task(this.signal).then(
        () => fail('returned before shutdown'),
        (thrown: unknown) => fail(`died: ${toError(thrown).message}`, toError(thrown)),
      ),
    );
  }

  /** Asks every task to stop and waits for all of them. */
  async close(reason = new Error('shutting down')): Promise<void> {
    this.#controller.abort(reason);
    await Promise.all(this.#tasks.values());
  }
}
