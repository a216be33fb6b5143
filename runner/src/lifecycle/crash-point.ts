/** Named places at which a test kills the runner, to see that nothing is lost there. `noCrash` in every normal run. */
export const CRASH_POINTS = [
  'runner/after-read-before-claim',
  'runner/after-claim',
  'runner/mid-step',
  'runner/before-step-commit',
  'runner/after-step-commit',
  'runner/after-send-row',
  'runner/before-drained',
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];
export type Reached = (point: CrashPoint) => void;

export const noCrash: Reached = () => {};

/** SIGKILL to this very process at the `nth` time that `point` is reached. */
export function crashAt(point: CrashPoint, nth: number): Reached {
  let left = nth;
  return (reached) => {
    if (reached !== point) return;
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  };
}
