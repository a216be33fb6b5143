/**
 * Named places on the path of a message at which a test kills the process, to see that nothing is lost there.
 * `noCrash` in every normal run.
 */
export type Reached = (point: CrashPoint) => void;

export type CrashPoint =
  | 'gateway/before-enqueue'
  | 'gateway/after-enqueue-before-ack'
  | 'gateway/before-platform-call'
  | 'gateway/after-platform-call'
  | 'delivery/before-commit'
  | 'delivery/after-commit-before-answer'
  | 'delivery/after-answer-before-wake'
  | 'delivery/after-read-before-sending'
  | 'delivery/after-sending-before-call'
  | 'delivery/after-call-before-record'
  | 'delivery/after-record-before-cleanup'
  | 'delivery/after-posting-before-preview'
  | 'delivery/after-preview-before-record'
  | 'controller/before-pod'
  | 'controller/after-pod-before-status';

export const noCrash: Reached = () => {};

/** `spec` is "<point>" or "<point>#<n>": SIGKILL to this very process at the n-th time (default 1) the point is reached. */
export function crashAt(spec: string): Reached {
  const [point, nth = '1'] = spec.split('#');
  let left = Number(nth);
  return (reached) => {
    if (reached !== point) return;
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  };
}
