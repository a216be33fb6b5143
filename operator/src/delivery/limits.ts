/** The numbers of delivery that somebody chose, in one place. Times in ms. */
export interface Limits {
  /** Awake sessions of this shard: about what its node can hold. */
  readonly maxAwakePerShard: number;
  /** Look at the files of awake sessions, and for rows that are due. */
  readonly pollMs: number;
  /** Look at every cell of the shard. */
  readonly sweepMs: number;
  /** Sizes of awake sessions are measured this often. */
  readonly measureMs: number;
  /** What a runner gets to finish or checkpoint before its Pod is removed. */
  readonly drainMs: number;
  /** A runner whose heartbeat stands still for so long is ended. */
  readonly hungMs: number;
  /** Sleeping cells whose files are kept open. */
  readonly maxOpenCells: number;
  readonly maxMessageAttachmentBytes: number;
  /** An attachment on a Channel that is not known (any more). */
  readonly defaultAttachmentBytes: number;
  /** Staged files that no message claimed. */
  readonly stagedMs: number;
  /** A cell whose agent is gone is put into the trash. */
  readonly orphanMs: number;
  /** What lies in the trash is removed. */
  readonly trashMs: number;
  /** Kept on the volume so that delivery can still write its ledger when everything else is full. */
  readonly reserveBytes: number;
  /** Less free space than this is a full volume. */
  readonly lowSpaceBytes: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxAwakePerShard: 100,
  pollMs: 1_000,
  sweepMs: 60_000,
  measureMs: 30_000,
  drainMs: 60_000,
  hungMs: 90_000,
  maxOpenCells: 512,
  maxMessageAttachmentBytes: 100 * 2 ** 20,
  defaultAttachmentBytes: 25 * 2 ** 20,
  stagedMs: 3_600_000,
  orphanMs: 86_400_000,
  trashMs: 7 * 86_400_000,
  reserveBytes: 64 * 2 ** 20,
  lowSpaceBytes: 64 * 2 ** 20,
};
