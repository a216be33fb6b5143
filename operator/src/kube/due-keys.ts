/** Keys with a due time each, the earliest first: a binary heap, so that 100,000 sleeping sessions cost one timer. */
export class DueKeys {
  readonly #due = new Map<string, number>();
  /** May hold entries that are no longer true: those are skipped when they come up. */
  readonly #heap: { readonly key: string; readonly due: number }[] = [];

  /** Keeps the earlier of two times. True when this one counts. */
  set(key: string, due: number): boolean {
    const known = this.#due.get(key);
    if (known !== undefined && known <= due) return false;
    this.#due.set(key, due);
    this.#heap.push({ key, due });
    this.#up(this.#heap.length - 1);
    return true;
  }

  get size(): number {
    return this.#due.size;
  }

  /** When the earliest is due. */
  next(): number | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (this.#due.get(top.key) === top.due) return top.due;
      this.#pop();
    }
    return undefined;
  }

  /** Takes out what is due by `now`, earliest first. */
  take(now: number): string[] {
    const keys: string[] = [];
    for (let due = this.next(); due !== undefined && due <= now; due = this.next()) {
      const key = this.#pop();
      if (key === undefined) break;
      this.#due.delete(key);
      keys.push(key);
    }
    return keys;
  }

  #pop(): string | undefined {
    const top = this.#heap[0];
    const last = this.#heap.pop();
    if (last !== undefined && this.#heap.length > 0) {
      this.#heap[0] = last;
      this.#down(0);
    }
    return top?.key;
  }

  #dueAt(i: number): number {
    return this.#heap[i]?.due ?? Number.POSITIVE_INFINITY;
  }

  #swap(i: number, j: number): void {
    const [a, b] = [this.#heap[i], this.#heap[j]];
    if (a === undefined || b === undefined) return;
    this.#heap[i] = b;
    this.#heap[j] = a;
  }

  #up(from: number): void {
    for (let i = from; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (this.#dueAt(parent) <= this.#dueAt(i)) return;
      this.#swap(i, parent);
      i = parent;
    }
  }

  #down(from: number): void {
    for (let i = from; ; ) {
      const [left, right] = [2 * i + 1, 2 * i + 2];
      const least = this.#dueAt(right) < this.#dueAt(left) ? right : left;
      if (this.#dueAt(i) <= this.#dueAt(least)) return;
      this.#swap(i, least);
      i = least;
    }
  }
}
