/** Keeps the beginning and the end of an output of any length. */
export class KeptOutput {
  readonly #head: number;
  readonly #tail: number;
  #start: Buffer = Buffer.alloc(0);
  #end: Buffer = Buffer.alloc(0);
  #dropped = 0;

  constructor(headBytes: number, tailBytes: number) {
    this.#head = headBytes;
    this.#tail = tailBytes;
  }

  add(data: Buffer): void {
    const room = this.#head - this.#start.length;
    if (room > 0) this.#start = Buffer.concat([this.#start, data.subarray(0, room)]);
    const rest = room > 0 ? data.subarray(room) : data;
    if (rest.length === 0) return;
    const joined = Buffer.concat([this.#end, rest]);
    const over = Math.max(0, joined.length - this.#tail);
    this.#dropped += over;
    this.#end = joined.subarray(over);
  }

  text(): string {
    const start = this.#start.toString('utf8');
    if (this.#end.length === 0) return start;
    const middle = this.#dropped > 0 ? `\n… (${this.#dropped} bytes left out) …\n` : '';
    return `${start}${middle}${this.#end.toString('utf8')}`;
  }
}
