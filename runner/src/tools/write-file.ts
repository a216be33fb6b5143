import { writeAtomic } from '@dovecote/proto';
import { z } from 'zod';
import { defineTool, pathField } from './tool.ts';

export const writeFile = defineTool({
  name: 'write_file',
  description: 'Writes a whole text file, replacing what is there. Missing folders are made. To change a part of a file use edit_file.',
  input: z.object({
    path: pathField('The file, relative to the workspace or absolute.'),
    content: z
      .string()
      .max(10 * 1024 * 1024)
      .describe('The whole new content.'),
  }),
  permission: 'always',
  repeatable: true,
  async run({ path, content }, { files }) {
    const data = Buffer.from(content);
    const { created } = writeAtomic(files, path, data, { createParents: true });
    return `${created ? 'Created' : 'Replaced'} ${files.resolve(path).shown} (${data.length} bytes).`;
  },
});
