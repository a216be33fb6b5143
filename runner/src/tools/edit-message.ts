import { z } from 'zod';
import { targetMessage } from './target-message.ts';
import { defineTool, ToolError } from './tool.ts';

export const editMessage = defineTool({
  name: 'edit_message',
  description:
    'Replaces the text of a message that you sent before, in its chat, where the platform can do that. Only your own messages can be ' +
    'edited; send_message tells the number of what it sends.',
  input: z.object({
    message: z.int().min(1).describe('The number of the message.'),
    text: z.string().min(1).max(200_000).describe('The whole new text, in Markdown.'),
  }),
  permission: 'always',
  repeatable: true, // the row's id is the call's: a second run finds it
  async run({ message, text }, context) {
    const target = targetMessage(message, context);
    if (target.from === 'people') throw new ToolError(`Message ${message} is somebody else's. Only your own messages can be edited.`);
    if (!target.editable) throw new ToolError(`Message ${message} is not a text, so it cannot be edited. Send a new one.`);
    context.send({ id: context.rowId, kind: 'edit', content: { target: message, text } });
    return `Message ${message} is being edited.`;
  },
});
