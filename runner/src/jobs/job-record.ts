/**
 * Which of the agent's background jobs run, in outbound.db: they end with their process, whatever ended that, and the next one tells
 * the model what it has lost.
 */
import { toError } from '../lifecycle/exit.ts';
import type { Log } from '../lifecycle/log.ts';
import type { Outbox } from '../outbox/outbox.ts';
import type { Job } from './job.ts';

const RUNNING_STATE = 'jobs';
/** Lost, and the model has not been told: void with the next finished step. */
export const LOST_JOBS_STATE = 'jobs_lost';
const TITLE_CHARS = 200;
/** More are not told by name. */
const MAX_LOST = 32;

interface RecordedJob {
  readonly id: string;
  readonly title: string;
}

/** A failure costs no more than a sentence to the model: what ails the file ends the next step. */
export function recordJobs(running: readonly Job[], outbox: Outbox, log: Log): void {
  try {
    const jobs = running.map(({ id, title }): RecordedJob => ({ id, title: title.split('\n')[0]?.slice(0, TITLE_CHARS) ?? '' }));
    outbox.commit({ state: { [RUNNING_STATE]: jobs.length === 0 ? undefined : jobs } });
  } catch (e) {
    log.warn({ err: toError(e) }, 'the running jobs could not be recorded');
  }
}

/** What a predecessor left running has ended with it. */
export function loseJobs(outbox: Outbox): void {
  const left = recorded(outbox, RUNNING_STATE);
  if (left.length === 0) return;
  const lost = [...recorded(outbox, LOST_JOBS_STATE), ...left].slice(-MAX_LOST);
  outbox.commit({ state: { [RUNNING_STATE]: undefined, [LOST_JOBS_STATE]: lost } });
}

/** One sentence for each job that the model does not know to be lost. */
export function lostJobs(outbox: Outbox): readonly string[] {
  return recorded(outbox, LOST_JOBS_STATE).map(
    ({ id, title }) =>
      `Your background job ${id} (${title}) was ended before it was done, because this session was put to sleep or restarted. Its output ` +
      'is gone. Start it again if its work is still needed.',
  );
}

function recorded(outbox: Outbox, state: string): readonly RecordedJob[] {
  return (outbox.getState(state) as readonly RecordedJob[] | undefined) ?? [];
}
