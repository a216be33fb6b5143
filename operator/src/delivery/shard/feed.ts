/** Who wants to know that a session changed, within this process: watchers of conversations. A hint, as every doorbell. */
export class Feed {
  readonly #listeners = new Set<(session: string) => void>();

  changed(session: string): void {
    for (const listener of this.#listeners) listener(session);
  }

  subscribe(listener: (session: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
