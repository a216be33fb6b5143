import type { Command } from './command.ts';
import type { DropReason } from './drop-reason.ts';

/** Why an agent gets an event. Kept with its row. */
export const EngageReason = {
  /** Engage mode Always. */
  Always: 'Always',
  /** The account was mentioned, or answered. */
  Mentioned: 'Mentioned',
  /** A direct chat: every message is meant for the agent. */
  Direct: 'Direct',
  /** The pattern matched. */
  PatternMatched: 'PatternMatched',
  /** Engage mode MentionSticky, no mention: holds if the chat and thread were engaged before, which the inbox knows. */
  Sticky: 'Sticky',
  /** Does not engage the agent, kept as context for the next message that does. */
  Accumulated: 'Accumulated',
} as const;
export type EngageReason = (typeof EngageReason)[keyof typeof EngageReason];

/** An event goes into the session of `agentGroup` for `scope`. */
export interface Deliver {
  readonly type: 'deliver';
  readonly agentGroup: string;
  readonly scope: string;
  /** Where the answer belongs: the thread of the event, or the one that its answer opens. Empty: none. */
  readonly thread: string;
  /** False: silent context, wakes nobody. */
  readonly trigger: boolean;
  /** Set for Sticky only: what becomes of the event when its thread was not engaged before. */
  readonly ifNotEngaged?: 'drop' | 'accumulate';
  /** The message is this command: it goes ahead of all messages, and no model reads it. */
  readonly command?: Command;
  readonly reason: EngageReason;
}

/** An event does not reach `agentGroup`; empty: nobody at all. */
export interface Drop {
  readonly type: 'drop';
  readonly agentGroup: string;
  readonly reason: DropReason;
  /** A sentence for people. */
  readonly detail: string;
}

/** An edit or deletion goes to where its message may have gone. */
export interface Amend {
  readonly type: 'amend';
  readonly agentGroup: string;
  readonly scope: string;
}

export type Decision = Deliver | Drop | Amend;
