import { z } from 'zod';
import type { Job } from '../jobs/job.ts';
import type { Jobs } from '../jobs/jobs.ts';
import { commandEnd } from './command-end.ts';
import { findJob } from './find-job.ts';
import { KeptOutput } from './kept-output.ts';
import { defineTool, type Tool } from './tool.ts';

const MAX_WAIT_S = 300;
const HEAD_BYTES = 8 * 1024;
const TAIL_BYTES = 24 * 1024;
const MAX_TITLE = 200;

export function jobOutput(jobs: Jobs): Tool {
  return defineTool({
    name: 'job_output',
    description:
      'Shows what a background job has written and whether it still runs; without a job, lists the jobs. Use from to see only what ' +
      'came since the last look, and wait_seconds to wait until there is something new or the job has ended.',
    input: z.object({
      job: z.string().min(1).max(64).optional().describe('The id that exec gave; absent: list all jobs.'),
      from: z.int().min(0).optional().describe('Begin at this byte of the output, as the last look said; absent: what is kept.'),
      wait_seconds: z.int().min(0).max(MAX_WAIT_S).optional().describe('How long to wait for something new; 0 when absent.'),
    }),
    permission: 'always',
    repeatable: true,
    deadlineMs: ({ wait_seconds = 0 }) => (wait_seconds + 10) * 1000,
    async run({ job: id, from = 0, wait_seconds = 0 }, { clock, signal }) {
      if (id === undefined) return listOf(jobs);
      const job = findJob(jobs, id);
      if (wait_seconds > 0) await somethingNew(job, from, wait_seconds * 1000, clock, signal);
      const text = new KeptOutput(HEAD_BYTES, TAIL_BYTES);
      for (const { data } of job.output.from(from)) text.add(data);
      const { oldest, total } = job.output;
      return [
        ...(oldest > from ? [`(${oldest - from} bytes before this are not kept any more)`] : []),
        text.text() === '' ? '(no new output)' : text.text().trimEnd(),
        `(job ${job.id}: ${stateOf(job)}; go on with from ${total})`,
      ].join('\n');
    },
  });
}

function listOf(jobs: Jobs): string {
  const lines = jobs.list().map((job) => `${job.id}\t${stateOf(job)}\t${job.title.split('\n')[0]?.slice(0, MAX_TITLE)}`);
  return lines.length === 0 ? 'There are no jobs.' : lines.join('\n');
}

function stateOf({ end }: Job): string {
  return end === undefined ? 'running' : `ended, ${commandEnd(end)}`;
}

async function somethingNew(
  job: Job,
  from: number,
  ms: number,
  clock: { sleep(ms: number, signal: AbortSignal): Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const timer = clock.sleep(ms, either).then(
    () => over.abort(),
    () => {}, // the job moved first, or the turn ends
  );
  await job.moved(from, either).catch(() => {});
  over.abort();
  await timer;
  signal.throwIfAborted();
}
