import { z } from 'zod';
import { changeMemory, type MemoryFile, memoryPath, NEW } from './memory-files.ts';
import { defineTool, ToolError } from './tool.ts';

/** Of what stands there now, in a refusal. */
const SHOWN_CHARS = 16_000;

export const memoryWrite = defineTool({
  name: 'memory_write',
  description:
    'Writes a file of your memory, which all your conversations share. Give the etag of what you read, or new for a file that must not ' +
    'be there yet: when another conversation wrote in between, nothing is written and you get what stands there now. To change a part, ' +
    'memory_edit is safer.',
  input: z.object({
    path: z.string().min(1).max(1_000).describe('The file, such as people/ann.md.'),
    content: z
      .string()
      .max(256 * 1024)
      .describe('The whole new content.'),
    etag: z.string().min(1).max(64).describe('As memory_read gave it, or new.'),
  }),
  permission: 'always',
  // Run twice, its own first write would look like another conversation's.
  repeatable: false,
  async run({ path, content, etag }, context) {
    const shown = memoryPath(context.files, path);
    const written = await changeMemory(shown, context, (before) => {
      if ((before?.etag ?? NEW) !== etag) throw conflict(shown, etag, before);
      return content;
    });
    return `${written.created ? 'Created' : 'Replaced'} ${shown} (etag ${written.etag}).`;
  },
});

function conflict(shown: string, etag: string, now: MemoryFile | undefined): ToolError {
  if (now === undefined) return new ToolError(`${shown} does not exist (any more). Write it with the etag new if it is still wanted.`);
  const why = etag === NEW ? 'exists already' : 'was changed since you read it, by another conversation of yours';
  const { text } = now;
  const content = text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}\n… (${text.length - SHOWN_CHARS} more characters)` : text;
  return new ToolError(
    `${shown} ${why}. Nothing was written. Bring your change into what stands there now, and write it with the etag ${now.etag}:\n${content}`,
  );
}
