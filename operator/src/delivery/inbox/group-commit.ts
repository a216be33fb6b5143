import { toError } from '../../lib/errors.ts';

export type Outcome<T> = { readonly value: T } | { readonly error: Error };

type Flush = () => void;

/**
 * Whose commit is next: one in each turn of the event loop, in the order in which the first item came. While one file is synced to
 * disk the sockets fill; between two commits they are read, so that a burst over a hundred cells costs about a hundred syncs, not
 * one for every few of its events.
 */
export class CommitLine {
  readonly #line: Flush[] = [];

  join(flush: Flush): void {
    if (this.#line.push(flush) === 1) setImmediate(() => this.#next());
  }

  #next(): void {
    const flush = this.#line[0];
    flush?.();
    this.#line.shift();
    if (this.#line.length > 0) setImmediate(() => this.#next());
  }
}

/**
 * Group commit: what is added until the batch's turn comes is committed by one call. `commit` is synchronous and answers for each
 * item in order; what it throws is the answer for all.
 */
export class GroupCommit<In, Out> {
  readonly #line: CommitLine;
  readonly #commit: (items: readonly In[]) => readonly Outcome<Out>[];
  #waiting: { readonly item: In; readonly resolve: (value: Out) => void; readonly reject: (error: Error) => void }[] = [];

  constructor(line: CommitLine, commit: (items: readonly In[]) => readonly Outcome<Out>[]) {
    this.#line = line;
    this.#commit = commit;
  }

  add(item: In): Promise<Out> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ item, resolve, reject }) === 1) this.#line.join(() => this.#flush());
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
