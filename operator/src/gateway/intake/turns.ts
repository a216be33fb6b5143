import { WaitingError } from '../../lib/errors.ts';

export interface TurnLimits {
  readonly concurrent: number;
  readonly waiting: number;
}

/** How much of one Channel is in hand at once. Each has its own: a platform whose files hang must not keep the others' events waiting. */
export class Turns {
  readonly #limits: TurnLimits;
  readonly #queue: (() => void)[] = [];
  #active = 0;
  #inHand = 0;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
  }

  /** Takes so many events in hand; answers with what lets go of them. Throws WaitingError when there are too many already. */
  hold(events: number): () => void {
    if (this.#inHand >= this.#limits.concurrent + this.#limits.waiting)
      throw new WaitingError('Busy', 'cannot take the event: too many others wait', 1_000);
    this.#inHand += events;
    return () => {
      this.#inHand -= events;
    };
  }

  /** Resolves, when it is one's turn to be worked on, first come first served, with what ends it. */
  async enter(): Promise<() => void> {
    if (this.#active >= this.#limits.concurrent) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#active += 1;
    return () => {
      const next = this.#queue.shift();
      if (next === undefined) this.#active -= 1;
      else next(); // the place is handed on, so nobody can slip in between
    };
  }
}
