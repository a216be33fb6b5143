import type { Clock } from '../lifecycle/clock.ts';

const WINDOW_MS = 10_000;
/** What no honest server sends in ten seconds, and what this process can still read beside its other work. */
const MAX_BYTES = 256 * 1024 * 1024;
const MAX_MESSAGES = 20_000;

/** Tells a server that sends much from one that only sends. */
export class FloodGauge {
  readonly #clock: Clock;
  #since = 0;
  #bytes = 0;
  #messages = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** False: it was too much. */
  add(bytes: number, messages: number): boolean {
    const now = this.#clock.now();
    if (now - this.#since >= WINDOW_MS || now < this.#since) {
      this.#since = now;
      this.#bytes = 0;
      this.#messages = 0;
    }
    this.#bytes += bytes;
    this.#messages += messages;
    return this.#bytes <= MAX_BYTES && this.#messages <= MAX_MESSAGES;
  }
}
