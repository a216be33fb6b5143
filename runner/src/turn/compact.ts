/** The beginning of a long conversation is replaced by a summary of the model's, which leaves room for what is to come. */
import type { AgentConfig } from '@dovecote/proto';
import type { Change, NewHistory } from '../outbox/outbox.ts';
import { renderForSummary, SUMMARY_SYSTEM } from '../prompts/summary.ts';
import { type Answer, type Provider, ProviderError } from '../providers/provider.ts';
import { awaitsAdministrator } from './administrator-wait.ts';
import { type CallOptions, callModel } from './call-model.ts';
import { COMPACTED } from './sentences.ts';
import type { SessionDeps } from './session-deps.ts';

export interface Compaction {
  readonly provider: Provider;
  readonly agent: AgentConfig;
  /** the turn for which it is done */
  readonly turn: string;
  readonly options: CallOptions;
  /** characters that may stay, 0: none */
  readonly limit: number;
  /** the beginning goes although no summary can be had */
  readonly orCut: boolean;
  /** becomes true together with the cut */
  readonly also?: Change;
}

/** `nothing`: nothing can be left out. `failed`: no summary could be had, and nothing was changed. */
export type Compacted = 'summarised' | 'cut' | 'nothing' | 'failed';

/** Throws as callModel does for what is not the summary's fault: a stop, a drain, a provider that needs an administrator. */
export async function compact(compaction: Compaction, deps: SessionDeps): Promise<Compacted> {
  const { log, transcript } = deps;
  const { turn, limit, orCut, options, also = {} } = compaction;
  const older = transcript.older(limit);
  if (older === undefined) return 'nothing';
  const answer = await summarise(renderForSummary(older.messages), compaction, deps);
  const text = answer === undefined ? '' : textOf(answer);
  if (answer === undefined || text === '') {
    if (!orCut) return 'failed';
    log.warn({ turn }, 'the older part of the transcript is left out without a summary');
    transcript.cut(older.from, undefined, also);
    return 'cut';
  }
  // Beside the turns: its figures count, and it is not part of the transcript.
  const row: NewHistory = {
    turn: `${turn}/summary`,
    step: 0,
    role: 'assistant',
    blocks: answer.blocks,
    model: answer.model,
    usage: answer.usage,
  };
  const note =
    options.replyTo === undefined
      ? []
      : [{ id: `summary/${older.from}`, kind: 'chat', inReplyTo: options.replyTo, content: { text: COMPACTED } } as const];
  transcript.cut(older.from, text, { ...also, history: [row], out: note });
  log.info({ turn, messages: older.messages.length }, 'the older part of the transcript was summed up');
  return 'summarised';
}

/** undefined: the model refuses. */
async function summarise(
  conversation: string,
  { provider, agent, turn, options }: Compaction,
  deps: SessionDeps,
): Promise<Answer | undefined> {
  try {
    return await callModel(
      provider,
      {
        system: SUMMARY_SYSTEM,
        tools: [],
        messages: [{ role: 'user', turn, blocks: [{ type: 'text', text: conversation }] }],
        model: agent.model,
        effort: agent.effort,
        thinking: agent.thinking,
        purpose: 'summary',
        turn,
        interruptions: 0,
      },
      { ...options, call: `${options.call}/summary` },
      deps,
    );
  } catch (e) {
    // What an administrator will mend is no reason to forget anything: the turn itself waits for that.
    if (!(e instanceof ProviderError) || awaitsAdministrator(e)) throw e;
    deps.log.warn({ err: e, reason: e.reason, turn }, 'the transcript could not be summed up');
    return undefined;
  }
}

function textOf({ blocks }: Answer): string {
  return blocks
    .flatMap((block) => (block.type === 'text' ? [block.text] : []))
    .join('\n')
    .trim();
}
