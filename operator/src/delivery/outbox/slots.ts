/** How many calls are under way at once: of all channels, and of each, so that a channel that hangs takes its own share only. */
export class Slots {
  readonly #max: number;
  readonly #maxPerChannel: number;
  readonly #inUse = new Map<string, number>();
  readonly #waiting: { readonly channel: string; readonly admit: () => void }[] = [];
  #total = 0;

  constructor(options: { readonly max: number; readonly maxPerChannel: number }) {
    this.#max = options.max;
    this.#maxPerChannel = options.maxPerChannel;
  }

  tryTake(channel: string): boolean {
    // Those who wait come first.
    if (this.hasWaiting(channel) || !this.#hasRoom(channel)) return false;
    this.#take(channel);
    return true;
  }

  hasWaiting(channel: string): boolean {
    return this.#waiting.some((waiter) => waiter.channel === channel);
  }

  /** Rejects with the signal's reason. */
  take(channel: string, signal: AbortSignal): Promise<void> {
    if (this.tryTake(channel)) return Promise.resolve();
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal.reason);
      };
      const waiter = {
        channel,
        admit: (): void => {
          signal.removeEventListener('abort', abort);
          resolve();
        },
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  release(channel: string): void {
    const left = (this.#inUse.get(channel) ?? 1) - 1;
    if (left === 0) this.#inUse.delete(channel);
    else this.#inUse.set(channel, left);
    this.#total -= 1;
    // The first whose channel has room: one that waits for a full channel must not hold up the others.
    const next = this.#waiting.findIndex((waiter) => this.#hasRoom(waiter.channel));
    if (next === -1) return;
    const [waiter] = this.#waiting.splice(next, 1);
    if (waiter === undefined) return;
    this.#take(waiter.channel);
    waiter.admit();
  }

  #hasRoom(channel: string): boolean {
    return this.#total < this.#max && (this.#inUse.get(channel) ?? 0) < this.#maxPerChannel;
  }

  #take(channel: string): void {
    this.#inUse.set(channel, (this.#inUse.get(channel) ?? 0) + 1);
    this.#total += 1;
  }
}
