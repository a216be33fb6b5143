import type { AgentData } from '../agent-data/agent-data.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Random } from '../lifecycle/random.ts';
import { addReaction } from './add-reaction.ts';
import { askUserQuestion } from './ask-user-question.ts';
import type { ProxyAccess } from './command-env.ts';
import { editFile } from './edit-file.ts';
import { editMessage } from './edit-message.ts';
import { execTool } from './exec.ts';
import { globTool } from './glob.ts';
import { grep } from './grep.ts';
import { jobKill } from './job-kill.ts';
import { jobOutput } from './job-output.ts';
import { listDir } from './list-dir.ts';
import { listSessions } from './list-sessions.ts';
import { memoryEdit } from './memory-edit.ts';
import { memoryRead } from './memory-read.ts';
import { memoryWrite } from './memory-write.ts';
import { readFile } from './read-file.ts';
import { searchMessages } from './search-messages.ts';
import { sendCard } from './send-card.ts';
import { sendFile } from './send-file.ts';
import { sendMessage } from './send-message.ts';
import type { Tool } from './tool.ts';
import { webFetch } from './web-fetch.ts';
import { writeFile } from './write-file.ts';

export interface BuiltInDeps {
  readonly jobs: Jobs;
  readonly random: Random;
  /** absent: nobody can be asked */
  readonly agentData?: AgentData | undefined;
  /** absent: there is no way out */
  readonly proxy?: ProxyAccess | undefined;
}

/** The runner's own tools, each in a file of its name. */
export function builtInTools(deps: BuiltInDeps): readonly Tool[] {
  const { jobs, agentData, proxy } = deps;
  const files = [readFile, writeFile, editFile, listDir, globTool, grep];
  const shell = [execTool(deps), jobOutput(jobs), jobKill(jobs)];
  const lookUp = agentData === undefined ? [] : [listSessions(agentData), searchMessages(agentData)];
  const messages = [sendMessage, sendFile, editMessage, addReaction, askUserQuestion, sendCard];
  return [
    ...files,
    ...shell,
    ...messages,
    memoryRead,
    memoryWrite,
    memoryEdit,
    ...lookUp,
    ...(proxy === undefined ? [] : [webFetch(proxy)]),
  ];
}
