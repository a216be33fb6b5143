import { closeSync, constants, futimesSync, openSync } from 'node:fs';
import type { Clock } from './clock.ts';
import { toError } from './exit.ts';
import type { Log } from './log.ts';

export const HEARTBEAT_MS = 5_000;

/**
 * Touches the heartbeat file by a timer of its own: its age tells whether this process lives and its event loop turns,
 * whatever turns or databases do. Returns the function that stops it.
 */
export function startHeartbeat(path: string, clock: Clock, log: Log): () => void {
  let warned = false;
  const beat = (): void => {
    try {
      const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o644);
      try {
        const at = clock.now() / 1000;
        futimesSync(fd, at, at);
      } finally {
        closeSync(fd);
      }
      warned = false;
    } catch (e) {
      // A full volume or a folder that the agent removed: the runner goes on, and says so once.
      if (!warned) log.warn({ err: toError(e) }, 'the heartbeat file could not be touched');
      warned = true;
    }
  };
  beat();
  return clock.every(HEARTBEAT_MS, beat);
}
