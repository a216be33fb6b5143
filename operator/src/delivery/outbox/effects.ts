import type { Claim } from './claim.ts';

/** What a transaction leads to once it is committed, and only then. */
export class Effects {
  /** Rows (of either file) that viewers show otherwise now. */
  readonly changed = new Set<number>();
  /** Lanes in which a row may be due. */
  readonly lanes = new Set<string>();
  /** Lanes that were entered for this transaction, each with the row that it claimed there, if any. */
  readonly entered = new Map<string, Claim | undefined>();
  /** The agent's file is at fault. */
  fault: Error | undefined;
  /** Look again then (ms since 1970), though no row says so: the agent's file was busy. */
  lookAgainAt: number | undefined;
}
