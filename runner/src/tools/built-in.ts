import type { Jobs } from '../jobs/jobs.ts';
import type { Random } from '../lifecycle/random.ts';
import { editFile } from './edit-file.ts';
import { execTool } from './exec.ts';
import { globTool } from './glob.ts';
import { grep } from './grep.ts';
import { jobKill } from './job-kill.ts';
import { jobOutput } from './job-output.ts';
import { listDir } from './list-dir.ts';
import { readFile } from './read-file.ts';
import { sendFile } from './send-file.ts';
import { sendMessage } from './send-message.ts';
import type { Tool } from './tool.ts';
import { writeFile } from './write-file.ts';

export interface BuiltInDeps {
  readonly jobs: Jobs;
  readonly random: Random;
}

/** The runner's own tools, each in a file of its name. */
export function builtInTools(deps: BuiltInDeps): readonly Tool[] {
  const { jobs } = deps;
  const files = [readFile, writeFile, editFile, listDir, globTool, grep];
  const shell = [execTool(deps), jobOutput(jobs), jobKill(jobs)];
  return [...files, ...shell, sendMessage, sendFile];
}
