/** The Messages API through the proxy, which puts the credential in: this process only has its Pod's own token. */
import { readFile } from 'node:fs/promises';
import Anthropic from '@anthropic-ai/sdk';
import type { Block, Usage } from '@dovecote/proto';
import type { Clock } from '../../lifecycle/clock.ts';
import { type Answer, type Provider, ProviderError, type ProviderEvent, type ProviderRequest, type StopReason } from '../provider.ts';
import { classify } from './classify.ts';
import { DEFAULT_MODEL, TRANSCRIPT_CHARS } from './limits.ts';
import { toParams } from './to-params.ts';

export interface AnthropicDeps {
  /** base URL of the proxy */
  readonly proxy: string;
  /** file with the proxy token, read at each request: kubelet exchanges it */
  readonly tokenFile: string;
  readonly clock: Clock;
}

export class AnthropicProvider implements Provider {
  readonly name = 'anthropic';
  readonly defaultModel = DEFAULT_MODEL;
  readonly transcriptChars = TRANSCRIPT_CHARS;
  readonly compactsItself = (): boolean => false;
  readonly #client: Anthropic;
  readonly #clock: Clock;

  constructor({ proxy, tokenFile, clock }: AnthropicDeps) {
    this.#clock = clock;
    this.#client = new Anthropic({
      baseURL: `${proxy}/anthropic`,
      apiKey: async () => (await readFile(tokenFile, 'utf8')).trim(), // sent as a bearer token
      maxRetries: 0, // ours survive the process and obey a drain
      timeout: 600_000, // to the first byte; silence within a stream is the turn's to notice
      logLevel: 'off', // its messages would bypass our log
    });
  }

  async *stream(request: ProviderRequest, { signal }: { readonly signal: AbortSignal }): AsyncIterable<ProviderEvent> {
    const model = request.model ?? DEFAULT_MODEL;
    try {
      const stream = await this.#client.messages.create({ ...toParams(request, model), stream: true }, { signal });
      const answer = new Accumulator(model);
      for await (const event of stream) {
        const text = answer.add(event);
        yield text === undefined ? { type: 'progress' } : { type: 'text', text };
      }
      yield answer.result();
    } catch (e) {
      if (signal.aborted) throw signal.reason;
      throw classify(e, this.#clock.now());
    }
  }
}

interface OpenBlock {
  readonly start: Anthropic.RawContentBlockStartEvent['content_block'];
  text: string;
  signature: string;
}

const STOPS: Readonly<Record<string, StopReason>> = {
  end_turn: 'end',
  stop_sequence: 'end',
  tool_use: 'tools',
  max_tokens: 'length',
  pause_turn: 'paused',
  refusal: 'refused',
  model_context_window_exceeded: 'context',
};

/** Puts the stream's events together. The SDK's own helper throws on malformed tool input, which the model can mend. */
class Accumulator {
  readonly #blocks: OpenBlock[] = [];
  #model: string;
  #stop: StopReason = 'end';
  #ended = false;
  #usage: Usage = { inputTokens: 0, outputTokens: 0 };

  constructor(model: string) {
    this.#model = model;
  }

  /** A piece of plain text, when the event brings one. */
  add(event: Anthropic.RawMessageStreamEvent): string | undefined {
    switch (event.type) {
      case 'message_start':
        this.#model = event.message.model;
        this.#count(event.message.usage);
        return undefined;
      case 'content_block_start':
        this.#blocks[event.index] = { start: event.content_block, text: '', signature: '' };
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

  #delta({ index, delta }: Anthropic.RawContentBlockDeltaEvent): string | undefined {
    const block = this.#blocks[index];
    if (block === undefined) return undefined;
    switch (delta.type) {
      case 'text_delta':
        block.text += delta.text;
        return delta.text;
      case 'input_json_delta':
        block.text += delta.partial_json;
        return undefined;
      case 'thinking_delta':
        block.text += delta.thinking;
        return undefined;
      case 'signature_delta':
        block.signature += delta.signature;
        return undefined;
      default:
        return undefined;
    }
  }

  /** Figures come twice, the later ones cumulative; a figure that is absent stands as it was. */
  #count(usage: Partial<Anthropic.Usage> | Partial<Anthropic.MessageDeltaUsage>): void {
    const read = usage.cache_read_input_tokens ?? this.#usage.cacheReadTokens;
    const written = usage.cache_creation_input_tokens ?? this.#usage.cacheWriteTokens;
    this.#usage = {
      inputTokens: usage.input_tokens ?? this.#usage.inputTokens,
      outputTokens: usage.output_tokens ?? this.#usage.outputTokens,
      ...(read === undefined ? {} : { cacheReadTokens: read }),
      ...(written === undefined ? {} : { cacheWriteTokens: written }),
    };
  }

  result(): Answer {
    if (!this.#ended) throw ProviderError.transient('Network', 'the stream ended in the middle of an answer');
    return { type: 'answer', blocks: this.#blocks.flatMap(toBlock), stop: this.#stop, model: this.#model, usage: this.#usage };
  }
}

function toBlock({ start, text, signature }: OpenBlock): Block[] {
  switch (start.type) {
    case 'text':
      // The API refuses empty text when it comes back.
      return start.text + text === '' ? [] : [{ type: 'text', text: start.text + text }];
    case 'thinking':
      return [{ type: 'thinking', text: start.thinking + text, signature: start.signature + signature }];
    case 'tool_use':
      return [{ type: 'tool_use', id: start.id, name: start.name, input: toolInput(start.input, text) }];
    default:
      return [{ type: 'opaque', provider: 'anthropic', value: start }];
  }
}

/** The streamed JSON, or the text itself when it is none: the tool then answers that it could not be read. */
function toolInput(start: unknown, json: string): unknown {
  if (json === '') return start ?? {};
  try {
    const input: unknown = JSON.parse(json);
    return typeof input === 'object' && input !== null ? input : json;
  } catch {
    return json;
  }
}
