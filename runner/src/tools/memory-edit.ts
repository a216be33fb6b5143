import { z } from 'zod';
import { changeMemory, memoryPath } from './memory-files.ts';
import { defineTool, ToolError } from './tool.ts';

export const memoryEdit = defineTool({
  name: 'memory_edit',
  description:
    'Replaces one piece of text in a file of your memory, which all your conversations share. old_text must occur exactly once. What ' +
    'other conversations write elsewhere in the file meanwhile is kept.',
  input: z.object({
    path: z.string().min(1).max(1_000).describe('The file, such as people/ann.md.'),
    old_text: z.string().min(1).describe('The text to replace, exactly as it stands in the file.'),
    new_text: z.string().describe('What stands there afterwards.'),
  }),
  permission: 'always',
  // Run twice, the text to replace is gone: the model would be told of a failure that did not happen.
  repeatable: false,
  async run({ path, old_text, new_text }, context) {
    const shown = memoryPath(context.files, path);
    const { etag } = await changeMemory(shown, context, (before) => {
      if (before === undefined) throw new ToolError(`${shown} does not exist. To make it, use memory_write with the etag new.`);
      const parts = before.text.split(old_text);
      if (parts.length === 2) return parts.join(new_text);
      throw new ToolError(
        parts.length === 1
          ? `${shown} does not contain that text (any more). Read it again: another conversation may have changed it.`
          : `${shown} contains that text ${parts.length - 1} times. Take more of its surroundings.`,
      );
    });
    return `Changed ${shown} (etag ${etag}).`;
  },
});
