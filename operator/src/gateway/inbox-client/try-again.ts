import { backoffMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { TerminalError, WaitingError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';

/** A shard that restarts is back in seconds: worth waiting for, as a platform comes again in a minute. */
const RETRY = { baseMs: 100, maxMs: 2_000 };

/** Until it works, `signal` aborts, or it fails with what time does not heal. */
export async function tryAgain<T>(
  { clock, random }: { readonly clock: Clock; readonly random: Random },
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (thrown) {
      if (!mayPass(thrown) || signal.aborted) throw thrown;
      await clock.sleep(backoffMs(attempt, RETRY, random), signal);
    }
  }
}

/** Delivery read the request and says that this event has no place there, now or later. */
export function refusedForGood(thrown: unknown): thrown is TerminalError {
  return thrown instanceof TerminalError && (thrown.reason === 'FAILED_PRECONDITION' || thrown.reason === 'INVALID_ARGUMENT');
}

/** A shard that restarts, or whose cache has not heard of an AgentGroup that we know. A full volume will not be empty in seconds. */
function mayPass(thrown: unknown): boolean {
  if (thrown instanceof WaitingError) return thrown.reason !== 'RESOURCE_EXHAUSTED' && thrown.reason !== 'Closing';
  return thrown instanceof TerminalError && thrown.reason === 'NOT_FOUND';
}
