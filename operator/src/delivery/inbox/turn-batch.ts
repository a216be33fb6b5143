import { toError } from '../../lib/errors.ts';

export type Outcome<T> = { readonly value: T } | { readonly error: Error };

/**
 * Group commit: what is added in one turn of the event loop is committed by one call, so that a burst pays one disk sync and not
 * one per message. `commit` is synchronous and answers for each item in order; what it throws is the answer for all.
 */
export class TurnBatch<In, Out> {
  readonly #commit: (items: readonly In[]) => readonly Outcome<Out>[];
  #waiting: { readonly item: In; readonly resolve: (value: Out) => void; readonly reject: (error: Error) => void }[] = [];

  constructor(commit: (items: readonly In[]) => readonly Outcome<Out>[]) {
    this.#commit = commit;
  }

  add(item: In): Promise<Out> {
    return new Promise((resolve, reject) => {
      // setImmediate runs once all that this turn's sockets brought has been parsed.
      if (this.#waiting.push({ item, resolve, reject }) === 1) setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    let outcomes: readonly Outcome<Out>[];
    try {
      outcomes = this.#commit(batch.map(({ item }) => item));
    } catch (thrown) {
      const error = toError(thrown);
      for (const { reject } of batch) reject(error);
      return;
    }
    batch.forEach(({ resolve, reject }, i) => {
      const outcome = outcomes[i] ?? { error: new Error('cannot say what became of an item: the commit did not answer for it') };
      if ('error' in outcome) reject(outcome.error);
      else resolve(outcome.value);
    });
  }
}
