import { z } from 'zod';
import { targetMessage } from './target-message.ts';
import { defineTool, ToolError } from './tool.ts';

const EMOJI = /^\p{RGI_Emoji}$/v;
/** Asks for the coloured form of a character that has a plain one too, such as a heart. */
const AS_EMOJI = '\uFE0F';

export const addReaction = defineTool({
  name: 'add_reaction',
  description: 'Adds an emoji to a message in its chat: to one that somebody sent you, by the id in its element, or to one of yours.',
  input: z.object({
    message: z.int().min(1).describe('The number of the message.'),
    emoji: z.string().min(1).max(64).describe('One emoji, such as 👍.'),
  }),
  permission: 'always',
  repeatable: true, // the row's id is the call's: a second run finds it
  async run({ message, emoji }, context) {
    const whole = [emoji, `${emoji}${AS_EMOJI}`].find((text) => EMOJI.test(text));
    if (whole === undefined) throw new ToolError(`${JSON.stringify(emoji)} is not one emoji. Give the character itself, such as 👍.`);
    targetMessage(message, context);
    context.send({ id: context.rowId, kind: 'reaction', content: { target: message, emoji: whole } });
    return `${whole} is being added to message ${message}.`;
  },
});
