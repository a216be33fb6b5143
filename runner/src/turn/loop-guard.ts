import type { TranscriptMessage } from '../providers/provider.ts';

export const SAME_TEXT = 3;
export const SAME_CALL = 5;

/** Why a turn must end although the model wants to go on: a sentence for people. undefined: it may go on. */
export function loopGuard(turn: readonly TranscriptMessage[], steps: number, maxSteps: number): string | undefined {
  if (steps >= maxSteps) return `I stopped after ${steps} steps, which is the most that one turn may take. Tell me to go on if I should.`;
  const calls = new Map<string, number>();
  let text = '';
  let same = 0;
  for (const message of turn) {
    if (message.role !== 'assistant') continue;
    const said = message.blocks
      .flatMap((block) => (block.type === 'text' ? [block.text] : []))
      .join('\n')
      .trim();
    same = said !== '' && said === text ? same + 1 : 1;
    text = said;
    if (said !== '' && same >= SAME_TEXT) return 'I stopped because I kept repeating myself. Please put it another way.';
    for (const block of message.blocks) {
      if (block.type !== 'tool_use') continue;
      const key = `${block.name} ${JSON.stringify(block.input)}`;
      const count = (calls.get(key) ?? 0) + 1;
      calls.set(key, count);
      if (count >= SAME_CALL)
        return `I stopped because I used the tool ${block.name} ${count} times in the same way without getting further.`;
    }
  }
  return undefined;
}
