/**
 * What a model provider is to the turn loop: a stream of events that ends with one answer. Providers keep nothing between
 * calls: the transcript is the runner's, so that any process can go on with it.
 */
import type { AgentConfig, Block, Usage } from '@dovecote/proto';

export interface ToolSpec {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of an object */
  readonly inputSchema: Readonly<Record<string, unknown>>;
}

export interface TranscriptMessage {
  readonly role: 'user' | 'assistant' | 'tool';
  readonly blocks: readonly Block[];
  /** the turn it belongs to */
  readonly turn: string;
}

export interface ProviderRequest {
  readonly system: string;
  readonly tools: readonly ToolSpec[];
  /** oldest first; the last is a user or tool message */
  readonly messages: readonly TranscriptMessage[];
  readonly model: string | undefined;
  readonly effort: AgentConfig['effort'];
  readonly thinking?: AgentConfig['thinking'] | undefined;
  readonly serverCompaction?: boolean | undefined;
  /** `title` and `summary` are about the messages and need no tool; absent: the next step of the turn */
  readonly purpose?: 'title' | 'summary' | undefined;
  /** the turn that asks */
  readonly turn: string;
  /** how often this very call failed before, also in earlier processes */
  readonly attempt: number;
  /** how often a process died in this step */
  readonly interruptions: number;
}

/** Why an answer ended. `context`: the conversation is longer than the model can read. */
export type StopReason = 'end' | 'tools' | 'length' | 'refused' | 'paused' | 'context';

export interface Answer {
  readonly type: 'answer';
  /** a tool_use whose input was not an object has a string as input */
  readonly blocks: readonly Block[];
  readonly stop: StopReason;
  readonly model: string;
  readonly usage: Usage;
}

/** `progress` is any sign of life; `text` is a piece of the answer's plain text; the answer comes last. */
export type ProviderEvent = { readonly type: 'progress' } | { readonly type: 'text'; readonly text: string } | Answer;

export interface Provider {
  readonly name: string;
  /** the model when the AgentGroup names none */
  readonly defaultModel: string;
  /** characters of transcript that surely fit the model's context */
  readonly transcriptChars: number;
  /**
   * True: it shortens long conversations by itself, so the runner neither cuts nor summarises them for this agent. What it
   * keeps of them comes as an opaque block of an answer and stands for all that is before it.
   */
  compactsItself(agent: AgentConfig): boolean;
  /** Throws ProviderError, or the signal's reason when aborted. */
  stream(request: ProviderRequest, options: { readonly signal: AbortSignal }): AsyncIterable<ProviderEvent>;
}

/** Worth another try. */
export type TransientReason = 'RateLimited' | 'Overloaded' | 'Unavailable' | 'Network' | 'NoProgress';
/** The same call can never succeed. */
export type PermanentReason = 'Unauthenticated' | 'Forbidden' | 'BadRequest' | 'TooLarge' | 'NoSuchModel' | 'NotConfigured';

export interface ProviderErrorOptions extends ErrorOptions {
  readonly retryAfterMs?: number | undefined;
  readonly sentence?: string | undefined;
}

/** A provider's failure, classified once, by code. The message is for the log: people never see it. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly transient: boolean;
  readonly reason: TransientReason | PermanentReason;
  /** what the provider asked for, ms */
  readonly retryAfterMs: number | undefined;
  /** what people may read instead of our own words: only ever the proxy's, which knows budget and Secret by name */
  readonly sentence: string | undefined;

  private constructor(transient: boolean, reason: TransientReason | PermanentReason, message: string, options: ProviderErrorOptions) {
    super(message, options);
    this.transient = transient;
    this.reason = reason;
    this.retryAfterMs = options.retryAfterMs;
    this.sentence = options.sentence;
  }

  static transient(reason: TransientReason, message: string, options: ProviderErrorOptions = {}): ProviderError {
    return new ProviderError(true, reason, message, options);
  }

  static permanent(reason: PermanentReason, message: string, options: ProviderErrorOptions = {}): ProviderError {
    return new ProviderError(false, reason, message, options);
  }
}
