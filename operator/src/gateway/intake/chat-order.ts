/** What the work of one key knows of its place. */
export interface Place {
  /** The next of this key may begin: what this one does is on its way, in its order. Without it the next waits for the end. */
  readonly goOn: () => void;
  /** Resolves when everything before it of this key has ended. Never rejects. */
  readonly before: Promise<void>;
}

/** Begins work of one key one after the other, in the order of calls; different keys do not wait for each other. */
export class ChatOrder {
  readonly #tails = new Map<string, { readonly begun: Promise<void>; readonly ended: Promise<void> }>();

  run<T>(key: string, work: (place: Place) => Promise<T>): Promise<T> {
    const { begun: turn, ended: before } = this.#tails.get(key) ?? { begun: Promise.resolve(), ended: Promise.resolve() };
    const begun = Promise.withResolvers<void>();
    const result = turn.then(() => work({ goOn: begun.resolve, before }));
    // Whoever called hears of a failure; the next one goes on.
    const ended = Promise.allSettled([before, result]).then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    result.then(
      () => begun.resolve(),
      () => begun.resolve(),
    );
    const tail = { begun: begun.promise, ended };
    this.#tails.set(key, tail);
    return result;
  }

  /** Resolves when everything that was asked for has ended. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all([...this.#tails.values()].map(({ ended }) => ended));
  }
}
