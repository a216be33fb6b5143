import type { QuestionContent } from '@dovecote/proto';
import { z } from 'zod';
import { addressee } from './addressee.ts';
import { defineTool } from './tool.ts';

/** So long the turn waits at most; the question stays open however long it takes. */
const MAX_WAIT_S = 300;
const LABEL_CHARS = 75;

export const askUserQuestion = defineTool({
  name: 'ask_user_question',
  description:
    'Asks people in a chat to choose, with a button for each option where the platform has them, else as numbered text. Waits five ' +
    'minutes for the choice, or as long as wait_seconds says; one that is made later comes to you as a message. Use it when you cannot ' +
    'go on without a decision.',
  input: z.object({
    question: z.string().min(1).max(3_000).describe('The question.'),
    options: z
      .array(z.string().trim().min(1).max(LABEL_CHARS))
      .min(2)
      .max(10)
      .refine((options) => new Set(options.map((option) => option.toLowerCase())).size === options.length, 'options must differ')
      .describe('The choices, 2 to 10.'),
    title: z.string().max(150).optional().describe('A few words above the question.'),
    to: z.string().min(1).max(128).optional().describe('The name of a destination; the chat you are answering when absent.'),
    wait_seconds: z
      .int()
      .min(0)
      .max(MAX_WAIT_S)
      .optional()
      .describe(
        `How long to wait for the choice before your turn ends, ${MAX_WAIT_S} when absent. Short when nobody is likely to be there.`,
      ),
  }),
  permission: 'always',
  repeatable: true, // the row's id is the call's: a second run finds it and waits on
  deadlineMs: ({ wait_seconds = MAX_WAIT_S }) => (wait_seconds + 10) * 1000,
  async run({ question, options, title = '', to, wait_seconds = MAX_WAIT_S }, context) {
    const expiresAt = context.clock.now() + wait_seconds * 1000;
    const content: QuestionContent = {
      questionId: context.rowId,
      title,
      text: question,
      options: options.map((label) => ({ label, value: label })),
      expiresAt,
    };
    if (context.written(context.rowId) === undefined)
      context.send({ id: context.rowId, kind: 'question', ...addressee(to, context), content });
    const choice = await context.waitForAnswer(context.rowId, expiresAt);
    if (choice === undefined)
      return (
        'Nobody has answered yet. End your turn now, and do not ask again: the question stays open, and the answer will come as a ' +
        'message, however late.'
      );
    return `${choice.by === '' ? 'Somebody' : choice.by} chose: ${choice.label}`;
  },
});
