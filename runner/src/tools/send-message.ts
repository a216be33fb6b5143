import { z } from 'zod';
import { addressee } from './addressee.ts';
import { defineTool } from './tool.ts';

export const sendMessage = defineTool({
  name: 'send_message',
  description:
    'Sends a message at once, before your turn ends: to a destination by name, or without `to` to the chat you are answering. ' +
    'Do not repeat its text in your final answer.',
  input: z.object({
    to: z.string().min(1).max(128).optional().describe('The name of a destination; the chat you are answering when absent.'),
    text: z.string().min(1).max(200_000).describe('The message, in Markdown.'),
  }),
  permission: 'always',
  repeatable: true, // the row's id is the call's: a second run finds it
  async run({ to, text }, context) {
    const seq = context.send({ id: context.rowId, kind: 'chat', ...addressee(to, context), content: { text } });
    return `Sent as message ${seq}.`;
  },
});
