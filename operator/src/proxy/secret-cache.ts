import type { Clock } from '../lib/clock.ts';
import type { Secrets } from './upstream.ts';

/** So long a value that was exchanged, or a Secret that was deleted, is still used: the proxy may read Secrets one by one, not watch them. */
const FRESH_MS = 5_000;

interface Known {
  readonly values: Promise<Readonly<Record<string, string>> | undefined>;
  readonly until: number;
}

/** Secrets as they were a moment ago: one read for all requests of that time. What is missing or cannot be read is asked for each time. */
export class SecretCache {
  readonly #read: Secrets;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #known = new Map<string, Known>();

  constructor(read: Secrets, clock: Pick<Clock, 'now'>) {
    this.#read = read;
    this.#clock = clock;
  }

  readonly values: Secrets = (name) => {
    const now = this.#clock.now();
    const known = this.#known.get(name);
    if (known !== undefined && known.until > now) return known.values;
    for (const [other, { until }] of this.#known) if (until <= now) this.#known.delete(other); // no value stays longer than it is of use
    const values = this.#read(name);
    const fresh: Known = { values, until: now + FRESH_MS };
    this.#known.set(name, fresh);
    const drop = (): void => {
      if (this.#known.get(name) === fresh) this.#known.delete(name);
    };
    values.then((found) => {
      if (found === undefined) drop();
    }, drop);
    return values;
  };

  /** Whoever stands behind the proxy does not take them: they may have been exchanged. */
  forget(names: readonly string[]): void {
    for (const name of names) this.#known.delete(name);
  }
}
