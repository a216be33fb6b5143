import { type LeaseTimes, MANY_LEASES_TIMES, runWhileLeader } from '../../kube/lease.ts';
import { LeaseShare } from '../../kube/lease-share.ts';
import type { ResourceStore } from '../../kube/store.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { Ownership } from './ownership.ts';

/** Ownership by a Lease of the Channel's own, for N gateways on a cluster, each of which comes to hold as many. `identity` is this very process's. */
export function leaseOwnership(deps: {
  readonly store: ResourceStore;
  readonly identity: string;
  readonly times?: LeaseTimes;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}): Ownership {
  const { times = MANY_LEASES_TIMES, ...rest } = deps;
  const share = new LeaseShare();
  return {
    hold: async (name, work, signal) => {
      while (!signal.aborted) await runWhileLeader({ ...rest, times, share, name, fieldManager: 'dovecote-gateway', signal }, work);
    },
  };
}
