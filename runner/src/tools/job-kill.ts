import { z } from 'zod';
import type { Jobs } from '../jobs/jobs.ts';
import { commandEnd } from './command-end.ts';
import { findJob } from './find-job.ts';
import { defineTool, type Tool } from './tool.ts';

/** A job that was asked to end gets so long to do it. */
const GRACE_MS = 3_000;

export function jobKill(jobs: Jobs): Tool {
  return defineTool({
    name: 'job_kill',
    description: 'Ends a background job and all that it started: it is asked first (SIGTERM), and ended by force three seconds later.',
    input: z.object({ job: z.string().min(1).max(64).describe('The id that exec gave.') }),
    permission: 'always',
    repeatable: true,
    deadlineMs: () => 2 * GRACE_MS + 10_000,
    async run({ job: id }, { clock, signal }) {
      const job = findJob(jobs, id);
      const before = job.end;
      if (before !== undefined) return `Job ${id} had ended already (${commandEnd(before)}).`;
      job.signal('SIGTERM');
      const ended = new AbortController();
      const patience = clock.sleep(GRACE_MS, AbortSignal.any([signal, ended.signal])).catch(() => {});
      await Promise.race([job.over, patience]);
      if (job.end === undefined) job.stop();
      const end = await job.over;
      ended.abort();
      await patience;
      return `Job ${id} is ended (${commandEnd(end)}).`;
    },
  });
}
