import type Anthropic from '@anthropic-ai/sdk';
import type { Block, PathJail } from '@dovecote/proto';
import type { ProviderRequest, TranscriptMessage } from '../provider.ts';
import { type Message, markForCache } from './cache-marks.ts';
import { type Model, reasoning } from './models.ts';
import { leftOut, shownFiles } from './shown-files.ts';

type Content = Anthropic.Beta.BetaContentBlockParam;
type Attachment = Extract<Block, { type: 'attachment' }>;

/** Input tokens at which the API sums the conversation up. */
const COMPACT_AT = 150_000;
/** Output tokens of what is no step of a turn. */
const ANSWER_TOKENS = { title: 4_000, summary: 16_000 };

export interface ParamsOptions {
  readonly name: string;
  readonly model: Model;
  readonly files: PathJail;
  /** leaves out whatever a server may refuse though the words are fine: thinking, files, options */
  readonly plain: boolean;
}

/** The request as the Messages API wants it: what stays the same first, and marked for the cache. Reads the files shown. */
export function toParams(request: ProviderRequest, options: ParamsOptions): Anthropic.Beta.MessageCreateParamsStreaming {
  const { name, model, plain } = options;
  const { purpose } = request;
  const inTurn = purpose === undefined;
  const publicApi = request.serverCompaction === true && inTurn && !plain;
  const compacts = publicApi && model.compacts;
  const binds = publicApi && model.bound;
  const { effort, thinking } = reasoning(model, inTurn ? request : { effort: 'low', thinking: 'off' });
  const tools = request.tools.map(
    (tool): Anthropic.Beta.BetaTool => ({
      name: tool.name,
      description: tool.description,
      input_schema: tool.inputSchema as Anthropic.Beta.BetaTool.InputSchema,
    }),
  );
  const system: Anthropic.Beta.BetaTextBlockParam[] = request.system.trim() === '' ? [] : [{ type: 'text', text: request.system }];
  const messages = toMessages(request.messages, {
    compacts,
    // Another system prompt is another conversation, in which thinking is refused.
    keepsThinking: inTurn && !plain,
    toolsAsText: tools.length === 0,
    show: plain || !model.files ? unseen : undefined,
    files: options.files,
  });
  if (inTurn) markForCache(tools, system, messages); // a question asked once is not read again
  const betas = [...(compacts ? ['compact-2026-01-12'] : []), ...(binds ? ['thinking-binding-controls-2026-08-01'] : [])];
  return {
    model: name,
    stream: true,
    max_tokens: purpose === undefined ? model.answer : Math.min(model.answer, ANSWER_TOKENS[purpose]),
    ...(system.length > 0 && { system }),
    ...(tools.length > 0 && { tools }),
    messages,
    ...(effort !== undefined && !plain && { output_config: { effort } }),
    ...(!plain && thinkingOf(thinking, binds, model)),
    ...(compacts && {
      context_management: { edits: [{ type: 'compact_20260112', trigger: { type: 'input_tokens', value: COMPACT_AT } }] },
    }),
    ...(betas.length > 0 && { betas }),
  };
}

/** Thinking that no longer fits its conversation is dropped instead of refused: prompts and tools change in mid-session. */
function thinkingOf(
  asked: ReturnType<typeof reasoning>['thinking'],
  binds: boolean,
  model: Model,
): { readonly thinking?: Anthropic.Beta.BetaThinkingConfigParam } {
  const adaptive = asked === 'adaptive' || (asked === undefined && model.thinking !== 'when-asked' && model.thinking !== 'never');
  if (binds && adaptive) return { thinking: { type: 'adaptive', block_binding: { prefix_mismatch_behavior: 'drop_block' } } };
  return asked === undefined ? {} : { thinking: { type: asked } };
}

interface MessagesOptions {
  readonly compacts: boolean;
  readonly keepsThinking: boolean;
  /** the API refuses calls and results in a request without tools */
  readonly toolsAsText: boolean;
  /** instead of the files */
  readonly show: ((attachment: Attachment) => Content) | undefined;
  readonly files: PathJail;
}

function toMessages(all: readonly TranscriptMessage[], options: MessagesOptions): Message[] {
  const messages = fromLastSummary(all);
  const show = options.show ?? shownFiles(messages, options.files);
  const built: Message[] = [];
  const called = new Set<string>();
  for (const message of messages) {
    for (const block of message.blocks) {
      const content = toContent(block, options, show);
      if (content === undefined) continue;
      // A summary that this request cannot carry as such comes as words of ours, not of the model's.
      const role = message.role === 'assistant' && !(isSummary(block) && !options.compacts) ? 'assistant' : 'user';
      // A conversation cut inside: the first message must be a user's, or a summary of what was before.
      if (built.length === 0 && role === 'assistant' && content.type !== 'compaction') continue;
      if (content.type === 'tool_use') called.add(content.id);
      const sent = block.type === 'tool_result' && !called.has(toolId(block.toolUseId)) ? resultInWords(block.text) : content;
      const last = built.at(-1);
      if (last?.role === role) last.content.push(sent);
      else built.push({ role, content: [sent] });
    }
  }
  return built;
}

function unseen(attachment: Attachment): Content {
  return leftOut(attachment, 'the model does not take files');
}

/** The API reads nothing before the last summary that it made: that need not travel. */
function fromLastSummary(messages: readonly TranscriptMessage[]): readonly TranscriptMessage[] {
  const index = messages.findLastIndex(({ blocks }) => blocks.some(isSummary));
  const message = messages[index];
  if (message === undefined) return messages;
  return [{ ...message, blocks: message.blocks.slice(message.blocks.findLastIndex(isSummary)) }, ...messages.slice(index + 1)];
}

function isSummary(block: Block): block is Extract<Block, { type: 'opaque' }> & { readonly value: { readonly content: string } } {
  if (block.type !== 'opaque' || block.provider !== 'anthropic' || typeOf(block.value) !== 'compaction') return false;
  // Without content it stands for nothing: the API could not sum up.
  return typeof (block.value as { readonly content?: unknown }).content === 'string';
}

/** undefined: nothing of it goes into the request. */
function toContent(block: Block, options: MessagesOptions, show: (attachment: Attachment) => Content): Content | undefined {
  switch (block.type) {
    case 'text':
      return block.text.trim() === '' ? undefined : { type: 'text', text: block.text };
    case 'thinking':
      // Without its signature the API refuses it, and another provider's thinking is of no use here.
      return options.keepsThinking && block.signature !== undefined && block.signature !== ''
        ? { type: 'thinking', thinking: block.text, signature: block.signature }
        : undefined;
    case 'tool_use':
      return options.toolsAsText
        ? { type: 'text', text: `[Called ${block.name} with ${JSON.stringify(block.input)}]` }
        : { type: 'tool_use', id: toolId(block.id), name: block.name, input: inputObject(block.input) };
    case 'tool_result':
      return options.toolsAsText
        ? resultInWords(block.text)
        : {
            type: 'tool_result',
            tool_use_id: toolId(block.toolUseId),
            content: block.text,
            ...(block.isError === true && { is_error: true }),
          };
    case 'attachment':
      return show(block);
    case 'opaque':
      if (block.provider !== 'anthropic') return undefined;
      if (options.compacts) return block.value as Content;
      if (isSummary(block)) return { type: 'text', text: `[Summary of the conversation up to here]\n${block.value.content}` };
      return options.keepsThinking && typeOf(block.value) !== 'compaction' ? (block.value as Content) : undefined;
  }
}

function typeOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
}

/** The API refuses a result whose call is not in the request. */
function resultInWords(text: string): Content {
  return { type: 'text', text: `[A tool answered: ${text}]` };
}

/** The API wants an object back, also for input that was none. */
function inputObject(input: unknown): unknown {
  return typeof input === 'object' && input !== null && !Array.isArray(input) ? input : { malformed: input };
}

/** Another provider's ids may hold characters that this API refuses. */
function toolId(id: string): string {
  return id.replace(/[^a-zA-Z0-9_-]/g, '_');
}
