import { readText, splitLines } from '@dovecote/proto';
import { z } from 'zod';
import { defineTool, pathField, ToolError } from './tool.ts';

const DEFAULT_LINES = 2_000;
const MAX_LINE = 2_000;
const MAX_CHARS = 100_000;

export const readFile = defineTool({
  name: 'read_file',
  description:
    'Reads a text file. Each line comes with its number and a tab before it, which are not part of the file. ' +
    'Long files come in pages: use offset to go on. Binary files are refused.',
  input: z.object({
    path: pathField('The file, relative to the workspace or absolute.'),
    offset: z.int().min(1).optional().describe('The first line to read, counted from 1.'),
    limit: z.int().min(1).max(10_000).optional().describe(`How many lines to read, ${DEFAULT_LINES} when absent.`),
  }),
  permission: 'always',
  repeatable: true,
  async run({ path, offset = 1, limit = DEFAULT_LINES }, { files }) {
    const lines = splitLines(readText(files, path).text);
    if (lines.length === 0) return '(the file is empty)';
    if (offset > lines.length) throw new ToolError(`The file has ${lines.length} lines; there is no line ${offset}.`);
    let chars = 0;
    const shown: string[] = [];
    for (const [index, line] of lines.slice(offset - 1, offset - 1 + limit).entries()) {
      const cut = line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}… (${line.length - MAX_LINE} more characters)` : line;
      chars += cut.length;
      if (chars > MAX_CHARS && shown.length > 0) break;
      shown.push(`${String(offset + index).padStart(6)}\t${cut}`);
    }
    const next = offset + shown.length;
    if (next <= lines.length) shown.push(`(lines ${offset} to ${next - 1} of ${lines.length}; go on with offset ${next})`);
    return shown.join('\n');
  },
});
