/** When an awake session may sleep. Pure. Times in ms since 1970, spans in ms. */

export interface SleepInput {
  readonly now: number;
  readonly suspended: boolean;
  readonly idleTimeoutMs: number;
  /** when the first message that waits for a turn is due; null: none waits */
  readonly nextDue: number | null;
  /** outbound rows that are neither delivered nor dead */
  readonly openOutbound: number;
  /** a turn was begun and not ended: its messages may be done already, and nothing but the runner goes on with it */
  readonly unfinishedTurn: boolean;
  /** busy: in a turn, or in a declared wait. idle: said so. absent: no runner is attached */
  readonly runner: 'busy' | 'idle' | 'absent';
  /** background jobs of its agent may keep it awake until then; 0: none run */
  readonly jobsUntil: number;
  /** of messages, answers, turns and the wake itself */
  readonly lastActivity: number;
}

export type SleepDecision =
  | { readonly sleep: true; readonly reason: 'Idle' | 'Suspended' }
  | { readonly sleep: false; readonly because: 'Pending' | 'DueSoon' | 'Busy' | 'UnfinishedTurn' | 'Jobs' | 'NotDelivered' | 'Fresh' };

/** A Pod costs more to stop and start than to keep for this long. */
const DUE_SOON_MS = 60_000;
/** Delivery sends without the Pod: one that is down for long must not keep it. A little patience spares a wake to read the dead letter. */
const DELIVERY_PATIENCE_MS = 300_000;

export function decideSleep(input: SleepInput): SleepDecision {
  const { now, nextDue, runner, idleTimeoutMs, unfinishedTurn } = input;
  if (input.suspended) return { sleep: true, reason: 'Suspended' };
  if (nextDue !== null && nextDue <= now) return { sleep: false, because: 'Pending' };
  if (nextDue !== null && nextDue - now < DUE_SOON_MS) return { sleep: false, because: 'DueSoon' };
  if (runner === 'busy') return { sleep: false, because: 'Busy' };
  if (unfinishedTurn) return { sleep: false, because: 'UnfinishedTurn' };
  if (input.jobsUntil > now) return { sleep: false, because: 'Jobs' };
  const idleMs = now - input.lastActivity;
  if (idleMs < idleTimeoutMs) return { sleep: false, because: 'Fresh' };
  if (input.openOutbound > 0 && idleMs < idleTimeoutMs + DELIVERY_PATIENCE_MS) return { sleep: false, because: 'NotDelivered' };
  return { sleep: true, reason: 'Idle' };
}
