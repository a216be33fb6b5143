import type { Backoff } from '../../lib/backoff.ts';

/** The numbers of the outbox that somebody chose. Times in ms. */
export interface OutboxLimits {
  /** A row's content; a longer one is set aside unread. */
  readonly maxContentBytes: number;
  /** outbound.db as a whole: beyond it the file is not read any more. */
  readonly maxOutboundBytes: number;
  /** Rows taken in one transaction, during which the runner cannot commit. */
  readonly batchRows: number;
  readonly batchBytes: number;
  /** Rows of one session that wait for their delivery: no more are taken until some are gone. */
  readonly maxOpenRows: number;
  /** New rows of one session, on average and at once. An agent that writes for ever fills its own file, not ours. */
  readonly rowsPerSecond: number;
  readonly rowBurst: number;
  /** From the time a row was due until it is given up. */
  readonly maxAgeMs: number;
  /** A row may ask to be sent this much later. */
  readonly maxDelayMs: number;
  readonly backoff: Backoff;
  /** What a Retry-After may ask for. */
  readonly maxRetryAfterMs: number;
  readonly connectMs: number;
  readonly callMs: number;
  readonly fileCallMs: number;
  readonly settleMs: number;
  /** A call that was under way when delivery ended may take effect so long after it began: no gateway gives a platform more. */
  readonly inFlightMs: number;
  /** Calls under way at once, of all channels and of one: a channel that hangs takes its own share only. */
  readonly maxCalls: number;
  readonly maxCallsPerChannel: number;
  /** Sentences about dead letters that one session causes in an hour; the others are only recorded. */
  readonly tellAgentPerHour: number;
  readonly tellUserPerHour: number;
  /** A file on a Channel that is not known (any more). */
  readonly defaultFileBytes: number;
  /** What calls in hand get when delivery stops. */
  readonly closeMs: number;
}

export const DEFAULT_OUTBOX_LIMITS: OutboxLimits = {
  maxContentBytes: 2 ** 20,
  maxOutboundBytes: 4 * 2 ** 30,
  batchRows: 200,
  batchBytes: 4 * 2 ** 20,
  maxOpenRows: 1_000,
  rowsPerSecond: 50,
  rowBurst: 1_000,
  maxAgeMs: 86_400_000,
  maxDelayMs: 366 * 86_400_000,
  backoff: { baseMs: 1_000, maxMs: 600_000 },
  maxRetryAfterMs: 3_600_000,
  connectMs: 5_000,
  callMs: 30_000,
  fileCallMs: 600_000,
  settleMs: 30_000,
  inFlightMs: 25_000,
  maxCalls: 256,
  maxCallsPerChannel: 32,
  tellAgentPerHour: 20,
  tellUserPerHour: 5,
  defaultFileBytes: 25 * 2 ** 20,
  closeMs: 10_000,
};
