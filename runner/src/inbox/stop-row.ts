import type { InboundContent, MessageInRow } from '@dovecote/proto';

/** Whether a control row asks to cancel the running turn. */
export function isStop(row: MessageInRow): boolean {
  if (row.lane !== 'control') return false;
  const { text } = JSON.parse(row.content) as Partial<InboundContent>;
  return typeof text === 'string' && /^\/stop(\s|$)/i.test(text.trim());
}
