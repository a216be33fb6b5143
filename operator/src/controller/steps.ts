/** A reconciler is a list of steps; reading the list tells what happens. */

/** `next` carries on, `stop` ends this pass without an error. */
export type StepResult = 'next' | 'stop';

export interface Step<Pass> {
  readonly name: string;
  run(pass: Pass, signal: AbortSignal): Promise<StepResult> | StepResult;
}

/** What a pass, as a whole, wants to be looked at again for. */
export interface Outcome {
  readonly resyncMs?: number;
}

/** Throws what a step throws, after `signal` has been looked at: a lost lease stops between two steps. */
export async function runSteps<Pass extends { resyncMs?: number | undefined }>(
  steps: readonly Step<Pass>[],
  pass: Pass,
  signal: AbortSignal,
): Promise<Outcome> {
  for (const step of steps) {
    signal.throwIfAborted();
    if ((await step.run(pass, signal)) === 'stop') break;
  }
  return pass.resyncMs === undefined ? {} : { resyncMs: pass.resyncMs };
}
