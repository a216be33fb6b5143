import type { inbox } from '@dovecote/proto';
import type { Drop } from '../routing/decision.ts';

/** What became of one event. */
export interface Receipt {
  readonly eventId: string;
  /** Agents that do not hear of it, and why; `agentGroup` is empty when nobody does. */
  readonly drops: readonly Drop[];
  /** Of a press on a button that counted, or came too late. */
  readonly answered?: inbox.AnswerResponse;
}
