import { type InboundContent, type MessageInRow, RETRY } from '@dovecote/proto';

/** What people, and of `retry` delivery, may ask of the runner itself. Everything else in the control lane is a message. */
export type ControlCommand = 'stop' | 'compact' | 'retry';

/** undefined: the row is for the model. */
export function controlCommand(row: MessageInRow): ControlCommand | undefined {
  if (row.lane !== 'control') return undefined;
  const { text, answer } = JSON.parse(row.content) as Partial<InboundContent>;
  if (answer !== undefined || typeof text !== 'string') return undefined;
  if (row.kind === 'system') return text === RETRY ? 'retry' : undefined;
  const [, word] = /^\/(stop|compact)(?:\s|$)/i.exec(text.trim()) ?? [];
  return word?.toLowerCase() as ControlCommand | undefined;
}
