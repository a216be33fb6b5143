/** What the runner is doing right now, for delivery's liveness and typing. Hints only: nothing depends on their arrival. */
export interface Progress {
  readonly phase: 'idle' | 'turn' | 'waiting' | 'draining';
  readonly turn: string;
  /** a tool's name, or "model" */
  readonly activity: string;
  /** of a declared wait, ms since 1970; 0: none */
  readonly deadlineMs: number;
}

export const IDLE: Progress = { phase: 'idle', turn: '', activity: '', deadlineMs: 0 };

export type ReportProgress = (progress: Progress) => void;
