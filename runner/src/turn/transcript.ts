import type { Block, HistoryRow, TurnState } from '@dovecote/proto';
import type { TranscriptMessage } from '../providers/provider.ts';

type Row = HistoryRow & { readonly turn_state: TurnState };

export const INTERRUPTED =
  'Interrupted: the session was restarted while this tool ran. It may or may not have taken effect; check before you repeat it.';
const FAILED = '(This turn ended with an error before I could answer.)';

interface Kept extends TranscriptMessage {
  readonly id: number;
  readonly chars: number;
}

/**
 * The conversation as providers get it, rebuilt from the history rows of all turns: whole, in order, and always valid
 * (each tool call has its result), whatever a killed or failed turn left behind.
 */
export function toMessages(rows: readonly Row[], running: string | undefined): readonly TranscriptMessage[] {
  const messages: Kept[] = [];
  rows.forEach((row, index) => {
    const blocks = JSON.parse(row.content) as Block[];
    if (row.turn_state === 'failed') {
      // What the model did in a turn that the provider refused may be the very reason of the refusal: only people's words stay.
      if (row.role === 'user') messages.push(kept(row, row.role, blocks));
      if (rows[index + 1]?.turn_id !== row.turn_id) messages.push(kept(row, 'assistant', [{ type: 'text', text: FAILED }]));
      return;
    }
    messages.push(kept(row, row.role, blocks));
  });
  return repaired(messages, running);
}

function kept(row: Row, role: TranscriptMessage['role'], blocks: readonly Block[]): Kept {
  return { id: row.id, role, blocks, turn: row.turn_id, chars: row.content.length };
}

/** Adds a result to each tool call that has none, except in the turn that is about to run it. */
function repaired(messages: readonly Kept[], running: string | undefined): readonly TranscriptMessage[] {
  const answered = new Set<string>();
  for (const message of messages) for (const block of message.blocks) if (block.type === 'tool_result') answered.add(block.toolUseId);
  const out: TranscriptMessage[] = [];
  for (const { role, blocks, turn } of messages) {
    out.push({ role, blocks, turn });
    if (role !== 'assistant' || turn === running) continue;
    const missing = danglingCalls([{ role, blocks, turn }]).filter((call) => !answered.has(call.id));
    if (missing.length > 0) out.push({ role: 'tool', turn, blocks: missing.map(({ id }) => interruptedResult(id)) });
  }
  return out;
}

export function interruptedResult(toolUseId: string): Block {
  return { type: 'tool_result', toolUseId, text: INTERRUPTED, isError: true };
}

export type ToolUse = Extract<Block, { type: 'tool_use' }>;

/** Tool calls without a result, with their place among the calls of their step. */
export function danglingCalls(messages: readonly TranscriptMessage[]): readonly (ToolUse & { readonly index: number })[] {
  const answered = new Set<string>();
  const calls: (ToolUse & { index: number })[] = [];
  for (const message of messages) {
    let index = 0;
    for (const block of message.blocks) {
      if (block.type === 'tool_result') answered.add(block.toolUseId);
      if (block.type === 'tool_use') calls.push({ ...block, index: index++ });
    }
  }
  return calls.filter((call) => !answered.has(call.id));
}

/**
 * Where the transcript must begin so that it fits `limit` characters: a history id at the start of a turn, or of a step where one
 * turn alone is too long. undefined: all fits, or is of one step. Cuts to half, so that the prefix stays the same, and cacheable,
 * for long after.
 */
export function cutPoint(rows: readonly Row[], limit: number): number | undefined {
  let left = rows.reduce((sum, row) => sum + row.content.length, 0);
  if (left <= limit) return undefined;
  let turn: { readonly id: number; readonly left: number } | undefined;
  let step: { readonly id: number; readonly left: number } | undefined;
  for (const [index, row] of rows.entries()) {
    const before = rows[index - 1];
    if (before !== undefined && before.turn_id !== row.turn_id) {
      turn = { id: row.id, left };
      if (left <= limit / 2) break;
    }
    // Between steps every call has its result.
    if (before !== undefined && (step === undefined || step.left > limit / 2) && (before.turn_id !== row.turn_id || before.step < row.step))
      step = { id: row.id, left };
    left -= row.content.length;
  }
  return turn !== undefined && turn.left <= limit ? turn.id : (step?.id ?? turn?.id);
}
