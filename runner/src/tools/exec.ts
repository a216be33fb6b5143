import { z } from 'zod';
import { type Jobs, TooManyJobsError } from '../jobs/jobs.ts';
import { runCommand } from '../jobs/run-command.ts';
import type { Random } from '../lifecycle/random.ts';
import { commandEnd } from './command-end.ts';
import { KeptOutput } from './kept-output.ts';
import { defineTool, type Tool, ToolError } from './tool.ts';

const DEFAULT_TIMEOUT_S = 120;
const MAX_TIMEOUT_S = 3_600;
const MAX_JOB_TIMEOUT_S = 86_400;
const HEAD_BYTES = 16 * 1024;
const TAIL_BYTES = 16 * 1024;

export function execTool({ jobs, random }: { readonly jobs: Jobs; readonly random: Random }): Tool {
  return defineTool({
    name: 'exec',
    description:
      'Runs a shell command in the workspace and returns its output and exit code. Of a long output the beginning and the end ' +
      'are kept. When the command ends or its time is over, all that it started is ended too: for a server, or work that takes ' +
      'longer than your turn, use background, which gives a job id for job_output and job_kill. A job with timeout_seconds keeps the ' +
      'session awake until it ends; one without ends when the session, idle for some minutes, goes to sleep, and you are told.',
    input: z
      .object({
        command: z.string().min(1).max(100_000).describe('The command, as for /bin/sh -c.'),
        cwd: z.string().max(4096).optional().describe('The folder to run it in; the workspace when absent.'),
        timeout_seconds: z
          .int()
          .min(1)
          .max(MAX_JOB_TIMEOUT_S)
          .optional()
          .describe(
            `How long it may take, ${DEFAULT_TIMEOUT_S} when absent; at most ${MAX_TIMEOUT_S}, and ${MAX_JOB_TIMEOUT_S} for a job.`,
          ),
        background: z
          .boolean()
          .optional()
          .describe('Start it as a job and return at once; then there is no time limit unless one is given.'),
      })
      .refine(({ timeout_seconds = 0, background }) => background === true || timeout_seconds <= MAX_TIMEOUT_S, {
        path: ['timeout_seconds'],
        error: `at most ${MAX_TIMEOUT_S} unless it runs in the background`,
      }),
    permission: 'always',
    repeatable: false,
    deadlineMs: ({ timeout_seconds = DEFAULT_TIMEOUT_S, background }) => (background === true ? 10 : timeout_seconds) * 1000,
    async run({ command, cwd = '.', timeout_seconds, background }, { files, clock, signal, commandEnv }) {
      const folder = files.realPath(cwd);
      if (!files.stat(cwd).isDirectory()) throw new ToolError(`${cwd} is not a folder.`);
      const shell = ['/bin/sh', '-c', command];
      if (background === true) {
        const timeout = timeout_seconds === undefined ? {} : { timeoutMs: timeout_seconds * 1000 };
        const job = await startJob(jobs, { command: shell, title: command, cwd: folder, env: commandEnv(), ...timeout });
        job.process.endInput();
        return `Started as job ${job.id}. See its output with job_output, end it with job_kill.`;
      }
      const seconds = timeout_seconds ?? DEFAULT_TIMEOUT_S;
      const output = new KeptOutput(HEAD_BYTES, TAIL_BYTES);
      const end = await runCommand(shell, {
        cwd: folder,
        env: commandEnv(),
        timeoutMs: seconds * 1000,
        clock,
        random,
        signal,
        onOutput: (_stream, data) => output.add(data),
      });
      const text = output.text();
      const body = text === '' ? '(no output)' : text.trimEnd();
      if (end.timedOut) throw new ToolError(`${body}\n(stopped after ${seconds} seconds)`);
      if (signal.aborted) throw new ToolError(`${body}\n(stopped before it ended)`);
      if (end.code !== 0) throw new ToolError(`${body}\n(${commandEnd(end)})`);
      return body;
    },
  });
}

async function startJob(jobs: Jobs, start: Parameters<Jobs['start']>[0]): ReturnType<Jobs['start']> {
  try {
    return await jobs.start(start);
  } catch (e) {
    if (e instanceof TooManyJobsError) throw new ToolError(`Not started: ${e.message} (job_kill).`, { cause: e });
    throw e;
  }
}
