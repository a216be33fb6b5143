import { JailError, walkFiles } from '@dovecote/proto';
import { z } from 'zod';
import { MEMORY, memoryPath, readMemory } from './memory-files.ts';
import { defineTool, ToolError } from './tool.ts';

const MAX_FILES = 500;

export const memoryRead = defineTool({
  name: 'memory_read',
  description:
    'Reads a file of your memory, which all your conversations share; without a path lists its files. The etag in the first line is ' +
    'what memory_write asks for.',
  input: z.object({ path: z.string().min(1).max(1_000).optional().describe('The file, such as people/ann.md; absent: list all.') }),
  permission: 'always',
  repeatable: true,
  async run({ path }, { files }) {
    if (path === undefined) return listing(files);
    const shown = memoryPath(files, path);
    const file = readMemory(files, shown);
    if (file === undefined) throw new ToolError(`${shown} does not exist. To make it, give memory_write the etag new.`);
    return `(etag ${file.etag})\n${file.text}`;
  },
});

function listing(files: Parameters<typeof walkFiles>[0]): string {
  let found: string[];
  try {
    found = [...walkFiles(files, MEMORY, MAX_FILES)].flatMap(({ relative, stats }) =>
      relative.split('/').some((part) => part.startsWith('.')) ? [] : [`${relative}\t${stats.size}`],
    );
  } catch (e) {
    if (!(e instanceof JailError) || e.reason !== 'NotFound') throw e;
    found = [];
  }
  return found.length === 0 ? 'The memory is empty.' : found.join('\n');
}
