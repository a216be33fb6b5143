import type { attach } from '@dovecote/proto';
import type { Clock } from '../lifecycle/clock.ts';

/** At most so often: people read no faster. */
const EVERY_MS = 100;

export type Partial = Omit<attach.PartialText, 'text'> & {
  /** made only when it is sent */
  readonly text: () => string;
};

const CLOSED = new Error('the runner ends');

/** What the model has said so far, passed on as it grows: the newest counts, those between two sendings are never seen. */
export class Partials {
  readonly #clock: Clock;
  readonly #send: (partial: attach.PartialText) => void;
  readonly #closed = new AbortController();
  #waiting: Partial | undefined;
  #sending: Promise<void> | undefined;
  /** what those who watch see now */
  #shown: attach.PartialText | undefined;

  constructor(clock: Clock, send: (partial: attach.PartialText) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  show(partial: Partial): void {
    this.#waiting = partial;
    this.#sending ??= this.#run();
  }

  /** The step is over. `answered`: its text is on its way as a message, which takes the place of what was shown. */
  end(answered: boolean): void {
    this.#waiting = undefined; // one that came after the message would bring it back
    if (!answered && this.#shown !== undefined) this.#send({ ...this.#shown, text: '' });
    this.#shown = undefined;
  }

  async close(): Promise<void> {
    this.#waiting = undefined;
    this.#closed.abort(CLOSED);
    await this.#sending;
  }

  async #run(): Promise<void> {
    while (this.#waiting !== undefined) {
      // First of all: an answer that is whole by then goes out as itself, and nothing is in its way.
      await this.#clock.sleep(EVERY_MS, this.#closed.signal).catch(() => {});
      const partial = this.#waiting as Partial | undefined; // it may have ended meanwhile
      this.#waiting = undefined;
      const text = partial?.text() ?? '';
      if (partial === undefined || text === '' || text === this.#shown?.text) continue;
      this.#shown = { ...partial, text };
      this.#send(this.#shown);
    }
    this.#sending = undefined;
  }
}
