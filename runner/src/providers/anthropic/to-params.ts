import type Anthropic from '@anthropic-ai/sdk';
import type { Block } from '@dovecote/proto';
import type { ProviderRequest, TranscriptMessage } from '../provider.ts';
import { MAX_TOKENS } from './limits.ts';

const CACHED = { type: 'ephemeral' } as const;
/** Models that refuse `output_config.effort`. */
const WITHOUT_EFFORT = /^claude-(?:haiku-4|sonnet-4-5|opus-4-[01]|3)/;

/** The request as the Messages API wants it, with the cache marks at the end of each part that stays the same. */
export function toParams(request: ProviderRequest, model: string): Anthropic.MessageCreateParams {
  return {
    model,
    max_tokens: MAX_TOKENS,
    system: [{ type: 'text', text: request.system, cache_control: CACHED }],
    tools: request.tools.map((tool, index) => ({
      name: tool.name,
      description: tool.description,
      input_schema: tool.inputSchema as Anthropic.Tool.InputSchema,
      ...(index === request.tools.length - 1 ? { cache_control: CACHED } : {}),
    })),
    messages: cacheLast(toMessages(request.messages)),
    ...(WITHOUT_EFFORT.test(model) ? {} : { output_config: { effort: request.effort } }),
  };
}

interface Built {
  role: 'user' | 'assistant';
  content: Anthropic.ContentBlockParam[];
}

function toMessages(messages: readonly TranscriptMessage[]): Built[] {
  const built: Built[] = [];
  for (const message of messages) {
    const role = message.role === 'assistant' ? 'assistant' : 'user';
    const content = message.blocks.flatMap(toContent);
    if (content.length === 0) continue;
    const last = built.at(-1);
    // Tool results must stand together, before any text of the same message.
    if (last?.role === role && role === 'user') last.content.push(...content);
    else built.push({ role, content });
  }
  // An answer that was all kept back, or a conversation cut inside: the first message must be a user's.
  while (built[0]?.role === 'assistant') built.shift();
  return built;
}

function toContent(block: Block): Anthropic.ContentBlockParam[] {
  switch (block.type) {
    case 'text':
      return block.text === '' ? [] : [{ type: 'text', text: block.text }];
    case 'thinking':
      // Without its signature the API refuses it, and another provider's thinking is of no use here.
      return block.signature === undefined || block.signature === ''
        ? []
        : [{ type: 'thinking', thinking: block.text, signature: block.signature }];
    case 'tool_use':
      // The API wants an object back, also for input that was none.
      return [
        {
          type: 'tool_use',
          id: toolId(block.id),
          name: block.name,
          input: typeof block.input === 'string' ? { malformed: block.input } : block.input,
        },
      ];
    case 'tool_result':
      return [
        {
          type: 'tool_result',
          tool_use_id: toolId(block.toolUseId),
          content: block.text,
          ...(block.isError === true ? { is_error: true } : {}),
        },
      ];
    case 'attachment':
      return [{ type: 'text', text: `[attachment: ${block.name} (${block.mimeType}) at ${block.path}]` }];
    case 'opaque':
      return block.provider === 'anthropic' ? [block.value as Anthropic.ContentBlockParam] : [];
  }
}

/** Another provider's ids may hold characters that this API refuses. */
function toolId(id: string): string {
  return id.replace(/[^a-zA-Z0-9_-]/g, '_');
}

function cacheLast(messages: Built[]): Anthropic.MessageParam[] {
  const last = messages.at(-1)?.content;
  const index = last?.findLastIndex((block) => block.type === 'text' || block.type === 'tool_result') ?? -1;
  const block = last?.[index];
  if (last !== undefined && block !== undefined && (block.type === 'text' || block.type === 'tool_result'))
    last[index] = { ...block, cache_control: CACHED };
  return messages;
}
