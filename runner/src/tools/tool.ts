/** What a tool of the model is. One file each; the toolbox lists them. */
import type { AgentConfig, DestinationRow, InboundAnswer, PathJail } from '@dovecote/proto';
import { z } from 'zod';
import type { Clock } from '../lifecycle/clock.ts';
import type { NewOut } from '../outbox/outbox.ts';
import type { OutboxFiles } from '../outbox/outbox-files.ts';
import type { KnownMessage } from './known-message.ts';

export interface Choice extends InboundAnswer {
  /** display name of who chose; may be empty */
  readonly by: string;
}

export interface ToolContext {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly files: PathJail;
  readonly outboxFiles: OutboxFiles;
  readonly destinations: readonly DestinationRow[];
  /** the inbound seq that the turn answers */
  readonly replyTo: number | undefined;
  /** "<turn>/<step>/<n>" of this very call: the id of the row it writes */
  readonly rowId: string;
  /** Commits a row for delivery at once. Written before by the same call: its seq, and nothing else happens. */
  send(row: NewOut): number;
  written(id: string): number | undefined;
  /** The message that the model knows by this number. */
  message(seq: number): KnownMessage;
  /**
   * What somebody chose on a question of this call, or undefined when nobody did until then (ms since 1970; the row's own `expiresAt`
   * counts when an earlier process asked it). Its inbound row is done with the call's result. Throws what the tool must let through.
   */
  waitForAnswer(questionId: string, untilMs: number): Promise<Choice | undefined>;
  /** A sign of life: the declared deadline begins anew. */
  progressed(): void;
  /** environment of a command that the model starts now: it may hold a token, which is read anew each time */
  commandEnv(): Readonly<Record<string, string>>;
}

export interface Tool<Input = unknown> {
  readonly name: string;
  readonly description: string;
  readonly input: z.ZodType<Input>;
  /** JSON Schema of an object, for the model, of a tool that somebody else defines; absent: made from `input` */
  readonly inputSchema?: Readonly<Record<string, unknown>>;
  /** whether a call runs at once or needs somebody's approval first */
  readonly permission: 'always' | 'approval';
  /** absent: to every agent that allows it */
  readonly offeredTo?: (agent: AgentConfig) => boolean;
  /** Run again by a resumed turn when it may have run before. false: the model is told that it was interrupted. */
  readonly repeatable: boolean;
  /** how long it may take without any sign of life, ms; absent: the turn's own limit */
  readonly deadlineMs?: (input: Input) => number;
  /** The text for the model. Throws ToolError or JailError for what the model can mend. */
  run(input: Input, context: ToolContext): Promise<string>;
}

/** What went wrong, in words for the model: what was tried, why it failed, what to do instead. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

/** Lets each tool keep its own input type while the toolbox holds them all. */
export function defineTool<Input>(tool: Tool<Input>): Tool {
  return tool as unknown as Tool;
}

export const pathField = (what: string): z.ZodString => z.string().min(1).max(4096).describe(what);
