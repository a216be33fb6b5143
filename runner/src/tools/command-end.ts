import type { CommandEnd } from '../jobs/run-command.ts';

/** How a command ended, in words for the model. */
export function commandEnd({ code, signal, timedOut }: CommandEnd): string {
  if (timedOut) return 'stopped because its time was over';
  if (signal !== null) return `ended by ${signal}`;
  return code === null ? 'could not be started' : `exit code ${code}`;
}
