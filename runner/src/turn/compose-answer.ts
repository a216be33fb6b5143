import type { Answer } from '../providers/provider.ts';
import { parseAnswer } from './answer-blocks.ts';
import { CUT_OFF, NO_ANSWER, REFUSED } from './sentences.ts';

/** How the note to the model begins: a turn is told once. */
export const NO_DESTINATION = 'No such destination: ';

export interface AnswerContext {
  /** the names there are */
  readonly destinations: ReadonlySet<string>;
  /** the inbound message that the turn answers; undefined: nobody in a chat asked */
  readonly replyTo: number | undefined;
  /** the model knows already that it named destinations that do not exist */
  readonly told: boolean;
  /** whether earlier steps have said anything to people */
  readonly answered: () => boolean;
}

export interface ComposedAnswer {
  /** the turn is over with this answer */
  readonly ends: boolean;
  readonly out: readonly { readonly destination?: string; readonly inReplyTo?: number | undefined; readonly text: string }[];
  /** what the model is told before it goes on */
  readonly note: string | undefined;
}

/** What one answer of the model sends, and whether the turn goes on. Pure. */
export function composeAnswer(answer: Answer, context: AnswerContext): ComposedAnswer {
  const parsed = parseAnswer(answer.blocks.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n'));
  const known = parsed.addressed.filter(({ to }) => context.destinations.has(to));
  const unknown = parsed.addressed.filter(({ to }) => !context.destinations.has(to)).map(({ to }) => to);
  const calls = answer.blocks.some((block) => block.type === 'tool_use');
  const ends = !calls && answer.stop !== 'paused' && (unknown.length === 0 || context.told);
  const named = known.map(({ to, text }) => ({ destination: to, text }));
  if (!ends) return { ends, out: named, note: unknown.length > 0 && !context.told ? noteOf(unknown, context.destinations) : undefined };
  const plain = [
    parsed.plain,
    ...(answer.stop === 'length' ? [CUT_OFF] : []),
    ...(answer.stop === 'refused' && parsed.plain === '' ? [REFUSED] : []),
    ...unknown.map((to) => `(I could not send a message to "${to}": there is no such destination.)`),
  ].filter((part) => part !== '');
  // Somebody asked: silence would be taken for a failure. A note of the system's may end in silence.
  const silent = plain.length === 0 && named.length === 0 && !parsed.internal && context.replyTo !== undefined && !context.answered();
  if (silent) plain.push(NO_ANSWER);
  return { ends, out: plain.length === 0 ? named : [...named, { inReplyTo: context.replyTo, text: plain.join('\n\n') }], note: undefined };
}

function noteOf(unknown: readonly string[], destinations: ReadonlySet<string>): string {
  const list = [...destinations].sort().join(', ');
  return `${NO_DESTINATION}${unknown.join(', ')}. Nothing was sent there. ${list === '' ? 'There are no destinations.' : `There are: ${list}.`}`;
}
