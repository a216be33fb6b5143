import { readText, writeAtomic } from '@dovecote/proto';
import { z } from 'zod';
import { defineTool, pathField, ToolError } from './tool.ts';

export const editFile = defineTool({
  name: 'edit_file',
  description:
    'Replaces one piece of text in a file. old_text must occur exactly once, so take enough of its surroundings; with ' +
    'replace_all each occurrence is replaced. Line numbers that read_file adds are not part of the file.',
  input: z.object({
    path: pathField('The file, relative to the workspace or absolute.'),
    old_text: z.string().min(1).describe('The text to replace, exactly as it stands in the file.'),
    new_text: z.string().describe('What stands there afterwards.'),
    replace_all: z.boolean().optional().describe('Replace every occurrence.'),
  }),
  permission: 'always',
  // Run twice, the text to replace is gone: the model would be told of a failure that did not happen.
  repeatable: false,
  async run({ path, old_text, new_text, replace_all }, { files }) {
    const { text } = readText(files, path);
    const parts = text.split(old_text);
    const found = parts.length - 1;
    const { shown } = files.resolve(path);
    if (found === 0) throw new ToolError(`${shown} does not contain that text. Read the file again: white space and line ends count.`);
    if (found > 1 && replace_all !== true)
      throw new ToolError(`${shown} contains that text ${found} times. Take more of its surroundings, or use replace_all.`);
    writeAtomic(files, path, Buffer.from(parts.join(new_text)));
    return `Replaced ${found === 1 ? 'one occurrence' : `${found} occurrences`} in ${shown}.`;
  },
});
