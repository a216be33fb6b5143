/** What every process of ours begins with: time, chance, log, metrics, crash points, and the end by signal. */
import { collectDefaultMetrics, Registry } from 'prom-client';
import { type Clock, systemClock } from '../lib/clock.ts';
import { crashAt, noCrash, type Reached } from '../lib/crash-point.ts';
import { createLog, type Log } from '../lib/log.ts';
import { type Random, systemRandom } from '../lib/random.ts';

export interface Foundation {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly registry: Registry;
  readonly reached: Reached;
}

/** `crashAt` is "<point>" or "<point>#<n>", for kill tests; undefined in every normal run. */
export function foundation(options: {
  readonly role: string;
  readonly logLevel: string;
  readonly crashAt?: string | undefined;
}): Foundation {
  const registry = new Registry();
  registry.setDefaultLabels({ role: options.role });
  collectDefaultMetrics({ register: registry });
  return {
    clock: systemClock,
    random: systemRandom,
    log: createLog({ role: options.role, level: options.logLevel }),
    registry,
    reached: options.crashAt === undefined ? noCrash : crashAt(options.crashAt),
  };
}

/** Aborts at the first SIGTERM or SIGINT. A second one ends the process at once: someone is impatient. */
export function endSignal(): AbortSignal {
  const ended = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (ended.signal.aborted) process.exit(name === 'SIGINT' ? 130 : 143);
      ended.abort(new Error(name));
    });
  }
  return ended.signal;
}

/** Resolves when any of the signals aborts, with its reason. */
export function firstAbort(...signals: readonly AbortSignal[]): Promise<unknown> {
  const any = AbortSignal.any([...signals]);
  return new Promise((resolve) => {
    if (any.aborted) resolve(any.reason);
    else any.addEventListener('abort', () => resolve(any.reason), { once: true });
  });
}
