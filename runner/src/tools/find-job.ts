import type { Job } from '../jobs/job.ts';
import type { Jobs } from '../jobs/jobs.ts';
import { ToolError } from './tool.ts';

/** Throws ToolError, which tells a job that ended with an earlier process from one that never was. */
export function findJob(jobs: Jobs, id: string): Job {
  const job = jobs.get(id);
  if (job !== undefined) return job;
  if (jobs.isOfEarlierProcess(id))
    throw new ToolError(
      `Job ${id} has ended: it was started before this session was put to sleep or restarted, and jobs end with that. Its output is gone. ` +
        'Start the command again if its work is still needed.',
    );
  const known = jobs.list().map((each) => each.id);
  throw new ToolError(`There is no job ${id}. ${known.length === 0 ? 'There are none.' : `There are: ${known.join(', ')}.`}`);
}
