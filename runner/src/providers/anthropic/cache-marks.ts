import type Anthropic from '@anthropic-ai/sdk';

type Content = Anthropic.Beta.BetaContentBlockParam;
export interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: Content[];
}

/**
 * The four marks that the API allows: behind the tools, the system prompt, the end of the request before this one, and the
 * end of this one. What was written to the cache at the last is read at the third by the next request, however many
 * blocks a step adds; looking back by itself, the API would find it only within twenty. Changes the arrays it is given.
 */
export function markForCache(
  tools: Anthropic.Beta.BetaTool[],
  system: Anthropic.Beta.BetaTextBlockParam[],
  messages: readonly Message[],
): void {
  mark(tools, tools.length - 1);
  mark(system, system.length - 1);
  const answered = messages.findLastIndex(({ role }) => role === 'assistant');
  const before = messages.slice(0, Math.max(0, answered)).findLast(({ role }) => role === 'user');
  for (const message of [before, messages.at(-1)])
    if (message !== undefined)
      mark(
        message.content,
        message.content.findLastIndex(({ type }) => MARKABLE.has(type)),
      );
}

/** The API refuses marks on thinking and on what it knows nothing of. */
const MARKABLE = new Set(['text', 'tool_result', 'image', 'document']);

function mark<T extends object>(blocks: T[], index: number): void {
  const block = blocks[index];
  if (block !== undefined) blocks[index] = { ...block, cache_control: { type: 'ephemeral' } };
}
