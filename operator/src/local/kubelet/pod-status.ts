/** A Pod's status as a real kubelet would write it, as far as the controller reads it. Pure. */
import type { Pod } from '../../kube/resource-types.ts';
import { POD_IP } from './command.ts';
import type { Ended } from './process.ts';

export type Terminated = {
  readonly exitCode: number;
  readonly reason: string;
  readonly message?: string;
  readonly startedAt: string;
  readonly finishedAt: string;
};

/** What became of the one container. */
export type ContainerState =
  | { readonly running: { readonly startedAt: string } }
  | { readonly waiting: { readonly reason: string; readonly message: string } }
  | { readonly terminated: Terminated };

export interface PodProgress {
  readonly state: ContainerState;
  readonly lastState: Terminated | undefined;
  readonly restartCount: number;
  /** When the kubelet took the Pod. */
  readonly startTime: string;
}

/** `tail`: the last lines, told for a failure only. */
export function terminatedOf(ended: Ended, tail: string, startedAt: string, finishedAt: string): Terminated {
  const failed = ended.exitCode !== 0;
  return {
    exitCode: ended.exitCode,
    reason: failed ? 'Error' : 'Completed',
    ...(failed && tail !== '' && { message: tail }),
    startedAt,
    finishedAt,
  };
}

export function podStatus(pod: Pod, { state, lastState, restartCount, startTime }: PodProgress): NonNullable<Pod['status']> {
  const runs = 'running' in state;
  const over = 'terminated' in state;
  const began = runs || over || restartCount > 0;
  const phase = over ? (state.terminated.exitCode === 0 ? 'Succeeded' : 'Failed') : began ? 'Running' : 'Pending';
  const condition = (type: string, holds: boolean) => ({ type, status: holds ? 'True' : 'False' });
  const container = pod.spec?.containers[0];
  return {
    phase,
    startTime,
    hostIP: POD_IP,
    podIP: POD_IP,
    podIPs: [{ ip: POD_IP }],
    conditions: [
      condition('PodScheduled', true),
      condition('Initialized', true),
      condition('ContainersReady', runs),
      condition('Ready', runs),
    ],
    containerStatuses: [
      {
        name: container?.name ?? 'runner',
        image: container?.image ?? '',
        imageID: '',
        ready: runs,
        started: runs,
        restartCount,
        state,
        ...(lastState !== undefined && { lastState: { terminated: lastState } }),
      },
    ],
  };
}

/** Seconds, as everywhere in the API. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
