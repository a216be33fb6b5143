import type Anthropic from '@anthropic-ai/sdk';
import type { Block, Usage } from '@dovecote/proto';
import { type Answer, ProviderError, type StopReason } from '../provider.ts';

type Events = Anthropic.Beta.BetaRawMessageStreamEvent;
type Start = Anthropic.Beta.BetaRawContentBlockStartEvent['content_block'];

/** Characters after which an answer is no answer any more: an upstream that never ends must not fill this process. */
const MAX_CHARS = 8_000_000;

interface OpenBlock {
  readonly start: Start;
  text: string;
  signature: string;
  /** what a compaction_delta brought: the whole block's */
  compaction: object;
}

const STOPS: Readonly<Record<string, StopReason>> = {
  end_turn: 'end',
  stop_sequence: 'end',
  tool_use: 'tools',
  max_tokens: 'length',
  pause_turn: 'paused',
  compaction: 'paused',
  refusal: 'refused',
  model_context_window_exceeded: 'context',
};

/** Puts a stream's events together. The SDK's own helper throws on malformed tool input, which the model can mend. */
export class Accumulator {
  readonly #blocks = new Map<number, OpenBlock>();
  #model: string;
  #stop: StopReason = 'end';
  #ended = false;
  #chars = 0;
  #usage: Usage = { inputTokens: 0, outputTokens: 0 };
  #compactions: readonly Anthropic.Beta.BetaCompactionIterationUsage[] = [];

  constructor(model: string) {
    this.#model = model;
  }

  /** A piece of plain text, when the event brings one. Throws ProviderError when there is no end to it. */
  add(event: Events): string | undefined {
    switch (event.type) {
      case 'message_start':
        this.#model = event.message.model;
        this.#count(event.message.usage);
        return undefined;
      case 'content_block_start':
        this.#blocks.set(event.index, { start: event.content_block, text: '', signature: '', compaction: {} });
        return undefined;
      case 'content_block_delta':
        return this.#delta(event);
      case 'message_delta':
        this.#stop = STOPS[event.delta.stop_reason ?? ''] ?? 'end';
        this.#count(event.usage);
        return undefined;
      case 'message_stop':
        this.#ended = true;
        return undefined;
      default:
        return undefined;
    }
  }

  #delta({ index, delta }: Anthropic.Beta.BetaRawContentBlockDeltaEvent): string | undefined {
    const block = this.#blocks.get(index);
    if (block === undefined) return undefined;
    switch (delta.type) {
      case 'text_delta':
        this.#append(block, delta.text);
        return delta.text;
      case 'input_json_delta':
        this.#append(block, delta.partial_json);
        return undefined;
      case 'thinking_delta':
        this.#append(block, delta.thinking);
        return undefined;
      case 'signature_delta':
        block.signature += delta.signature;
        return undefined;
      case 'compaction_delta': {
        const { type: _, ...fields } = delta;
        block.compaction = fields;
        return undefined;
      }
      default:
        return undefined;
    }
  }

  #append(block: OpenBlock, text: string): void {
    this.#chars += text.length;
    if (this.#chars > MAX_CHARS) throw ProviderError.transient('Unavailable', `the answer is longer than ${MAX_CHARS} characters`);
    block.text += text;
  }

  /** Figures come twice, the later ones cumulative; a figure that is absent stands as it was. */
  #count(usage: Partial<Anthropic.Beta.BetaUsage> | Partial<Anthropic.Beta.BetaMessageDeltaUsage>): void {
    const read = usage.cache_read_input_tokens ?? this.#usage.cacheReadTokens;
    const written = usage.cache_creation_input_tokens ?? this.#usage.cacheWriteTokens;
    const reasoning = usage.output_tokens_details?.thinking_tokens ?? this.#usage.reasoningTokens;
    this.#usage = {
      inputTokens: usage.input_tokens ?? this.#usage.inputTokens,
      outputTokens: usage.output_tokens ?? this.#usage.outputTokens,
      ...(read === undefined ? {} : { cacheReadTokens: read }),
      ...(written === undefined ? {} : { cacheWriteTokens: written }),
      ...(reasoning === undefined ? {} : { reasoningTokens: reasoning }),
    };
    if (usage.iterations) this.#compactions = usage.iterations.filter((iteration) => iteration.type === 'compaction');
  }

  /** Throws ProviderError Network when the stream ended before the answer did. */
  result(): Answer {
    if (!this.#ended) throw ProviderError.transient('Network', 'the stream ended in the middle of an answer');
    const blocks = [...this.#blocks].sort(([a], [b]) => a - b).flatMap(([, block]) => toBlock(block));
    return { type: 'answer', blocks, stop: this.#stop, model: this.#model, usage: this.#compactions.reduce(withCompaction, this.#usage) };
  }
}

/** The totals leave out what summing up took, which is paid for as well. */
function withCompaction(total: Usage, more: Anthropic.Beta.BetaCompactionIterationUsage): Usage {
  return {
    ...total,
    inputTokens: total.inputTokens + more.input_tokens,
    outputTokens: total.outputTokens + more.output_tokens,
    cacheReadTokens: (total.cacheReadTokens ?? 0) + (more.cache_read_input_tokens ?? 0),
    cacheWriteTokens: (total.cacheWriteTokens ?? 0) + (more.cache_creation_input_tokens ?? 0),
  };
}

function toBlock({ start, text, signature, compaction }: OpenBlock): Block[] {
  switch (start.type) {
    case 'text':
      // The API refuses text without a letter when it comes back.
      return (start.text + text).trim() === '' ? [] : [{ type: 'text', text: start.text + text }];
    case 'thinking':
      return [{ type: 'thinking', text: start.thinking + text, signature: start.signature + signature }];
    case 'tool_use':
      return [{ type: 'tool_use', id: start.id, name: start.name, input: toolInput(start.input, text) }];
    default: {
      // What we know nothing of goes back as it came: each field that was streamed is in its place.
      const streamed = {
        ...compaction,
        ...(text === '' ? {} : { input: toolInput(undefined, text) }),
        ...(signature === '' ? {} : { signature }),
      };
      return [{ type: 'opaque', provider: 'anthropic', value: { ...start, ...streamed } }];
    }
  }
}

/** The streamed JSON, or the text itself when it is none: the tool then answers that it could not be read. */
function toolInput(start: unknown, json: string): unknown {
  if (json === '') return start ?? {};
  try {
    const input: unknown = JSON.parse(json);
    return typeof input === 'object' && input !== null && !Array.isArray(input) ? input : json;
  } catch {
    return json;
  }
}
