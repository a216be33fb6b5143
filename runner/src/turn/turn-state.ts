/** Rows of `state` by which one process tells the next where a turn stands. */
import { STATE_HELD } from '@dovecote/proto';
import { RETRY_STATE } from './call-model.ts';

export const RESUME_STATE = 'resume';
export const CHECKPOINT_STATE = 'checkpoint';

/** The turn's place in the steps at which it was left on purpose: no tool was running. */
export interface CheckpointState {
  readonly turn: string;
  readonly step: number;
}

/** How often a process died in this step of this turn. */
export interface ResumeState {
  readonly turn: string;
  readonly step: number;
  readonly count: number;
}

/** What a finished step or turn makes void. */
export const VOID = {
  [RETRY_STATE]: undefined,
  [RESUME_STATE]: undefined,
  [CHECKPOINT_STATE]: undefined,
  [STATE_HELD]: undefined,
} as const;
