import type { Block } from '@dovecote/proto';
import { knownMessage } from '../tools/known-message.ts';
import type { SessionDeps } from './session-deps.ts';
import { interruptedResult, type ToolUse } from './transcript.ts';
import { waitForAnswer } from './wait-for-answer.ts';

/** A deadline that moved by less is not told. */
const PROGRESS_MS = 1_000;

export interface ToolRun {
  readonly block: Block;
  /** inbound rows that the result stands for: done with it */
  readonly used: readonly number[];
}

export interface ToolCall {
  readonly use: ToolUse & { readonly index: number };
  readonly turn: string;
  readonly step: number;
  /** the inbound row that the turn answers */
  readonly replyTo: number | undefined;
  /** a process may have died inside this very call */
  readonly mayHaveRun: boolean;
  readonly signal: AbortSignal;
  /** cuts a wait for people: the call then has no result */
  readonly drain: AbortSignal;
}

/** Runs one call of the model. Throws WaitCutError, and what ends the process: a full volume, a broken file. */
export async function runTool({ use, turn, step, replyTo, mayHaveRun, signal, drain }: ToolCall, deps: SessionDeps): Promise<ToolRun> {
  const projection = deps.projection();
  const toolbox = deps.toolbox(projection.agent);
  if (mayHaveRun && !toolbox.repeatable(use.name)) return { block: interruptedResult(use.id), used: [] };
  const waits = (deadlineMs: number): void => deps.report({ phase: 'waiting', turn, activity: use.name, deadlineMs });
  const deadline = toolbox.deadlineMs(use.name, use.input);
  let until = deps.clock.now() + (deadline ?? 0);
  if (deadline === undefined) deps.report({ phase: 'turn', turn, activity: use.name, deadlineMs: 0 });
  else waits(until);
  deps.reached('runner/mid-step');
  const rowId = `${turn}/${step}/t${use.index}`;
  const used: number[] = [];
  const { text, isError } = await toolbox.run(use.name, use.input, {
    signal,
    clock: deps.clock,
    files: deps.files,
    outboxFiles: deps.outboxFiles,
    destinations: projection.destinations,
    replyTo,
    rowId,
    commandEnv: () => deps.commandEnv(projection.agent),
    written: (id) => deps.outbox.written(id),
    message: (seq) => knownMessage(seq, deps),
    progressed: () => {
      const next = deps.clock.now() + (deadline ?? 0);
      if (deadline === undefined || next - until < PROGRESS_MS) return;
      until = next;
      waits(until);
    },
    waitForAnswer: async (questionId, untilMs) => {
      const expiry = deps.outbox.questionExpiry(rowId) ?? untilMs; // asked by an earlier process: its deadline still holds
      waits(expiry);
      const found = await waitForAnswer(questionId, expiry, { ...deps, signal, drain });
      if (found !== undefined) used.push(found.seq);
      return found === undefined ? undefined : { ...found.answer, by: found.by };
    },
    send: (row) => {
      const [seq = 0] = deps.outbox.commit({ out: [row] }).seqs;
      deps.reached('runner/after-send-row');
      return seq;
    },
  });
  return { block: { type: 'tool_result', toolUseId: use.id, text, ...(isError ? { isError } : {}) }, used };
}
