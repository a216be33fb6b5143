export interface OutputChunk {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Buffer;
  /** how many bytes the command had written before it */
  readonly at: number;
}

/** The newest output of a command, whatever it writes: what does not fit any more leaves at the front. */
export class OutputRing {
  readonly #capacity: number;
  #chunks: OutputChunk[] = [];
  #held = 0;
  #total = 0;

  constructor(capacityBytes: number) {
    this.#capacity = capacityBytes;
  }

  /** Bytes written since the beginning, whether kept or not. */
  get total(): number {
    return this.#total;
  }

  /** The first byte that is still kept. */
  get oldest(): number {
    return this.#total - this.#held;
  }

  add(stream: OutputChunk['stream'], data: Buffer): void {
    // Copied: a slice would keep the whole buffer of the pipe alive.
    const kept = Buffer.from(data.subarray(Math.max(0, data.length - this.#capacity)));
    this.#chunks.push({ stream, data: kept, at: this.#total + data.length - kept.length });
    this.#total += data.length;
    this.#held += kept.length;
    let gone = 0;
    for (let over = this.#held - this.#capacity; over > 0; over = this.#held - this.#capacity) {
      const first = this.#chunks[gone];
      if (first === undefined) break;
      if (first.data.length <= over) {
        this.#held -= first.data.length;
        gone += 1;
      } else {
        this.#chunks[gone] = { ...first, data: first.data.subarray(over), at: first.at + over };
        this.#held -= over;
      }
    }
    if (gone > 0) this.#chunks = this.#chunks.slice(gone);
  }

  /** What is kept from byte `at` on, oldest first; it begins at `oldest` when more than that has left. */
  from(at: number): readonly OutputChunk[] {
    return this.#chunks.flatMap((chunk) => {
      const skip = at - chunk.at;
      if (skip <= 0) return [chunk];
      return skip < chunk.data.length ? [{ ...chunk, data: chunk.data.subarray(skip), at }] : [];
    });
  }
}
