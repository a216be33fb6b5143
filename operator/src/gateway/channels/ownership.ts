/** Which replica holds a Channel's one connection and speaks for it in its status. */
export interface Ownership {
  /**
   * Waits until this replica owns `name`, then runs `work` for as long as it does: its signal aborts when the ownership is lost, and
   * nobody else owns `name` before `work` has ended or the lease has expired. Begins again when `work` ends. Resolves when
   * `signal` aborts, having given the ownership back.
   */
  hold(name: string, work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
}

/** For an installation of one process. */
export const soleOwner: Ownership = {
  hold: async (_name, work, signal) => {
    while (!signal.aborted) await work(signal);
  },
};
