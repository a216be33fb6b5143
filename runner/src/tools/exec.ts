import { z } from 'zod';
import { KeptOutput } from './kept-output.ts';
import { runCommand } from './run-command.ts';
import { defineTool, ToolError } from './tool.ts';

const DEFAULT_TIMEOUT_S = 120;
const MAX_TIMEOUT_S = 3_600;
const HEAD_BYTES = 16 * 1024;
const TAIL_BYTES = 16 * 1024;

export const exec = defineTool({
  name: 'exec',
  description:
    'Runs a shell command in the workspace and returns its output and exit code. Of a long output the beginning and the end ' +
    'are kept. When the command ends or its time is over, all that it started is ended too.',
  input: z.object({
    command: z.string().min(1).max(100_000).describe('The command, as for /bin/sh -c.'),
    cwd: z.string().max(4096).optional().describe('The folder to run it in; the workspace when absent.'),
    timeout_seconds: z.int().min(1).max(MAX_TIMEOUT_S).optional().describe(`How long it may take, ${DEFAULT_TIMEOUT_S} when absent.`),
  }),
  repeatable: false,
  deadlineMs: ({ timeout_seconds = DEFAULT_TIMEOUT_S }) => timeout_seconds * 1000,
  async run({ command, cwd = '.', timeout_seconds = DEFAULT_TIMEOUT_S }, { files, clock, signal, commandEnv }) {
    const output = new KeptOutput(HEAD_BYTES, TAIL_BYTES);
    const folder = files.realPath(cwd);
    if (!files.stat(cwd).isDirectory()) throw new ToolError(`${cwd} is not a folder.`);
    const end = await runCommand(['/bin/sh', '-c', command], {
      cwd: folder,
      env: commandEnv,
      timeoutMs: timeout_seconds * 1000,
      clock,
      signal,
      onOutput: (_stream, data) => output.add(data),
    });
    const text = output.text();
    const body = text === '' ? '(no output)' : text.trimEnd();
    if (end.timedOut) throw new ToolError(`${body}\n(stopped after ${timeout_seconds} seconds)`);
    if (signal.aborted) throw new ToolError(`${body}\n(stopped before it ended)`);
    if (end.signal !== null) throw new ToolError(`${body}\n(ended by ${end.signal})`);
    if (end.code !== 0) throw new ToolError(`${body}\n(exit code ${end.code})`);
    return body;
  },
});
