/** Why a runner ended, in a word for programs and a sentence for people. Pure. */
import { Reason } from '@dovecote/crds';
import type { Pod } from '../../kube/resource-types.ts';

/** How a runner, or its Pod, ended; the shape of Session.status.lastExit. */
export interface Exit {
  readonly reason: string;
  readonly message: string;
  readonly exitCode?: number;
  /** RFC 3339 */
  readonly at: string;
}

/** Exit codes that a runner gives itself; the others are those of any process. */
export const ExitCode = { drained: 0, diskFull: 75, refused: 78, killed: 137 } as const;

/** lastExit.reason of an exit that needs no word in a condition. */
export const COMPLETED = 'Completed';

type ContainerStatus = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];
export type Terminated = NonNullable<NonNullable<ContainerStatus['state']>['terminated']>;

/** `memoryLimit`: as the container has it, for the sentence about it. */
export function exitOf(ended: Terminated, memoryLimit: string | undefined): Exit {
  const { exitCode } = ended;
  const at = wholeTime(ended.finishedAt);
  const last = lastLine(ended.message);
  const said = last === undefined ? '' : `: ${last}`;
  const exit = (reason: string, message: string): Exit => ({ reason, message: clip(message, 1_024), exitCode, at });
  if (ended.reason === 'OOMKilled') {
    const limit = memoryLimit === undefined ? 'than its node had' : `than its limit of ${memoryLimit}`;
    return exit(
      Reason.OOMKilled,
      `The runner used more memory ${limit} and was killed. Raise spec.resources.limits.memory of its AgentGroup if that goes on.`,
    );
  }
  switch (exitCode) {
    case ExitCode.drained:
      return exit(COMPLETED, 'The runner finished.');
    case ExitCode.diskFull:
      return exit(Reason.DiskFull, `The runner could not write because its disk is full${said}`);
    case ExitCode.refused:
      return exit(Reason.RunnerRefused, `The runner refuses its configuration or the version of its files${said}`);
    case ExitCode.killed:
      return exit('Killed', `The runner was killed${said}`);
    default:
      return exit('Crashed', `The runner crashed with exit code ${exitCode}${said}`);
  }
}

/** How a Pod ended as a whole, which can be without any container of it having run. */
export function podExitOf(pod: Pod, now: number): Exit | undefined {
  const { status } = pod;
  if (status?.phase !== 'Failed' && status?.phase !== 'Succeeded') return undefined;
  const container = status.containerStatuses?.[0];
  const ended = container?.state?.terminated;
  const at = wholeTime(ended?.finishedAt ?? pod.metadata.creationTimestamp, now);
  const message = (text: string): string => clip(status.message === undefined ? text : `${text}: ${status.message}`, 1_024);
  if (status.reason === 'Evicted') return { reason: Reason.Evicted, message: message('The node removed the Pod to save itself'), at };
  if (disrupted(pod)) return { reason: Reason.Evicted, message: message('The Pod was removed from its node'), at };
  if (status.phase === 'Failed' && status.reason !== undefined) {
    return { reason: Reason.PodFailed, message: message(`The node ended the Pod (${status.reason})`), at };
  }
  if (ended !== undefined) return exitOf(ended, memoryLimitOf(pod));
  return { reason: Reason.PodFailed, message: message('The Pod failed before its runner ran'), at };
}

/** Whether the cluster itself ends this Pod: drain, preemption, taint, node shutdown. */
export function disrupted(pod: Pod): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === 'DisruptionTarget' && status === 'True') ?? false;
}

export function memoryLimitOf(pod: Pod): string | undefined {
  return pod.spec?.containers[0]?.resources?.limits?.['memory'];
}

/** A time of the cluster, or `now` where it left it out. */
function wholeTime(time: string | undefined, now = 0): string {
  return time ?? new Date(now).toISOString();
}

function lastLine(text: string | undefined): string | undefined {
  const line = text?.trimEnd().split('\n').at(-1)?.trim();
  return line === undefined || line === '' ? undefined : clip(inWords(line), 300);
}

/** A runner's last line is most often a log record: of that the sentences, not the stack. */
function inWords(line: string): string {
  try {
    const { msg, err } = JSON.parse(line) as { readonly msg?: unknown; readonly err?: { readonly message?: unknown } };
    const words = [msg, err?.message].filter((part) => typeof part === 'string');
    return words.length === 0 ? line : words.join(': ');
  } catch {
    return line; // no record, or one that was cut off
  }
}

export function clip(text: string, max: number): string {
  const characters = [...text];
  return characters.length <= max ? text : `${characters.slice(0, max - 1).join('')}…`;
}
