/** How many are worked on at once. The others wait, first come first served. */
export class Turns {
  readonly #concurrent: number;
  readonly #queue: (() => void)[] = [];
  #active = 0;

  constructor(concurrent: number) {
    this.#concurrent = concurrent;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Resolves, when it is one's turn, with what ends it. */
  async enter(): Promise<() => void> {
    if (this.#active >= this.#concurrent) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#active += 1;
    return () => {
      const next = this.#queue.shift();
      if (next === undefined) this.#active -= 1;
      else next(); // the place is handed on, so nobody can slip in between
    };
  }
}
