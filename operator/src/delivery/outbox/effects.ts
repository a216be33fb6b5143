import type { Claim } from './claimed.ts';

/** What a transaction leads to once it is committed, and only then. */
export class Effects {
  /** Rows (of either file) that viewers show otherwise now. */
  readonly changed = new Set<number>();
  /** Lanes in which a row may be due. */
  readonly lanes = new Set<string>();
  /** Lanes that were entered for this transaction, each with the row that it claimed there, if any. */
  readonly entered = new Map<string, Claim | undefined>();
  /** Rows that were given up: outbound ones, notices, and inbound ones. */
  readonly dead: { readonly seq: number; readonly reason: string }[] = [];
  /** Rows that did not get through this time. */
  readonly failed: { readonly seq: number; readonly attempts: number; readonly reason: string }[] = [];
  /** The agent's file is at fault. */
  fault: Error | undefined;
  /** Look again then (ms since 1970), though no row says so: the agent's file was busy. */
  lookAgainAt: number | undefined;
}
