/** What one wake and one sleep of a session cost the API server, by change of state and by who wrote. Pure. */
import { type ApiCall, isOurs, isWrite } from '../harness/cluster-audit.ts';

export interface WritesByChange {
  /** spec.awake, and its Pod. */
  readonly asleepToWaking: number;
  /** The status; once more where the Pod takes so long that the status says Waking meanwhile. */
  readonly wakingToAwake: number;
  /** spec.awake: the runner itself is asked to end over its stream. */
  readonly awakeToDraining: number;
  /** The Pod's deletion, and the status. */
  readonly drainingToAsleep: number;
  /** Of ours, but of no one session: the counts in its agent's status, for all sessions at once. */
  readonly shared: number;
  /** Binding, the kubelet's status of the Pod, its token and its Events: what any Pod costs. */
  readonly ofKubernetes: number;
}

/** `calls`: in the order of the log, from before the wake to after the sleep. Token reviews are no writes of anything. */
export function writesByChange(calls: readonly ApiCall[], session: string): WritesByChange {
  const counts = { asleepToWaking: 0, wakingToAwake: 0, awakeToDraining: 0, drainingToAsleep: 0, shared: 0, ofKubernetes: 0 };
  let awake = false;
  for (const call of calls.filter((one) => isWrite(one) && !one.resource.endsWith('reviews'))) {
    const { by, resource, verb, name } = call;
    if (!isOurs(call)) {
      if (name === session || name.startsWith(`${session}.`)) counts.ofKubernetes += 1;
    } else if (name !== session) counts.shared += 1;
    else if (by === 'delivery' && resource === 'sessions') {
      awake = !awake;
      counts[awake ? 'asleepToWaking' : 'awakeToDraining'] += 1;
    } else if (resource === 'sessions/status') counts[awake ? 'wakingToAwake' : 'drainingToAsleep'] += 1;
    else counts[verb === 'delete' ? 'drainingToAsleep' : 'asleepToWaking'] += 1;
  }
  return counts;
}
