import type { OutboundHeader } from '@dovecote/proto';
import { TokenBucket } from '../../lib/token-bucket.ts';
import type { OutboxLimits } from './outbox-limits.ts';

/** What is known of a session between two looks at its files. May be forgotten at any moment. */
export class SessionState {
  /** The header of outbound.db up to which everything was taken. */
  seen: OutboundHeader | undefined;
  /** Seqs of inbound rows that a turn works on. */
  processing: readonly number[] = [];
  /** The fault that was reported last. */
  fault: string | undefined;
  /** Rows are left in the file because too many wait already. */
  rowsLeft = false;
  /** ms since 1970: something is to be tried again of which no row says so. */
  lookAgainAt: number | undefined;
  readonly allowance: TokenBucket;

  constructor({ rowsPerSecond, rowBurst }: OutboxLimits, now: number) {
    this.allowance = new TokenBucket({ perSecond: rowsPerSecond, burst: rowBurst }, now);
  }

  hasSeen(header: OutboundHeader): boolean {
    const { seen } = this;
    return seen?.changeCounter === header.changeCounter && seen.sizeBytes === header.sizeBytes && seen.inode === header.inode;
  }
}
