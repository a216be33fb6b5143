import { type PathJail, removeLeftovers } from '@dovecote/proto';
import type { Clock } from './clock.ts';
import { toError } from './exit.ts';
import type { Log } from './log.ts';

/** The first message should not wait for it. */
const AFTER_MS = 10_000;

/** Looks once, a while after the start, for what writers left behind that were killed. Returns how to stop and wait for it. */
export function startLeftoverSweep(jail: PathJail, clock: Clock, log: Log, afterMs = AFTER_MS): () => Promise<void> {
  const stop = new AbortController();
  const sweep = async (): Promise<void> => {
    await clock.sleep(afterMs, stop.signal);
    for (const { alias, writable } of jail.roots) {
      if (!writable) continue;
      const removed = await removeLeftovers(jail, alias, clock.now(), stop.signal);
      if (removed > 0) log.info({ folder: alias, removed }, 'files of interrupted writes are removed');
    }
  };
  const done = sweep().catch((e: unknown) => {
    if (!stop.signal.aborted)
      log.warn({ err: toError(e) }, 'files of interrupted writes could not be looked for; the next start tries again');
  });
  return async () => {
    stop.abort();
    await done;
  };
}
