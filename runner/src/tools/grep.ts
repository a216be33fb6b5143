import { matchesGlob, posix } from 'node:path';
import { setImmediate as nextTick } from 'node:timers/promises';
import { JailError, readText, splitLines, TooLargeError, walkFiles } from '@dovecote/proto';
import { z } from 'zod';
import { defineTool, ToolError } from './tool.ts';
import { withinTime } from './within-time.ts';

const MAX_HITS = 200;
const MAX_LINE = 400;
const MAX_VISITED = 50_000;
const MAX_FILE_BYTES = 2 * 1024 * 1024;

export const grep = defineTool({
  name: 'grep',
  description:
    'Searches text files for a JavaScript regular expression and shows file:line: text. Binary files and those over 2 MiB are skipped.',
  input: z.object({
    pattern: z.string().min(1).max(1_000).describe('The regular expression.'),
    path: z.string().max(4096).optional().describe('A folder or file; the workspace when absent.'),
    glob: z.string().max(1_000).optional().describe('Only files that match this pattern, such as **/*.ts.'),
    ignore_case: z.boolean().optional(),
  }),
  permission: 'always',
  repeatable: true,
  async run({ pattern, path = '.', glob, ignore_case }, { files, signal }) {
    const expression = compile(pattern, ignore_case === true);
    const single = files.stat(path).isFile();
    const names = single ? [''] : walk(files, path, glob);
    const hits: string[] = [];
    for (const relative of names) {
      await nextTick(); // one file at a time: the heartbeat must go on during a long search
      signal.throwIfAborted();
      const lines = linesOf(files, posix.join(path, relative));
      // Beyond this a line cannot be shown anyway.
      const matching = withinTime(pattern, () => lines.map((line) => expression.test(line.slice(0, 10_000))));
      for (const [index, line] of lines.entries()) {
        if (matching[index] !== true) continue;
        hits.push(`${single ? path : relative}:${index + 1}: ${line.slice(0, MAX_LINE)}`);
        if (hits.length >= MAX_HITS) return `${hits.join('\n')}\n(more hits follow: narrow the search)`;
      }
    }
    return hits.length === 0 ? 'No line matches.' : hits.join('\n');
  },
});

function compile(pattern: string, ignoreCase: boolean): RegExp {
  try {
    return new RegExp(pattern, ignoreCase ? 'iu' : 'u');
  } catch (e) {
    throw new ToolError(`${(e as Error).message}.`, { cause: e });
  }
}

function walk(files: Parameters<typeof walkFiles>[0], path: string, glob: string | undefined): readonly string[] {
  const names = [...walkFiles(files, path, MAX_VISITED)].map(({ relative }) => relative);
  return glob === undefined ? names : withinTime(glob, () => names.filter((name) => matchesGlob(name, glob)));
}

function linesOf(files: Parameters<typeof walkFiles>[0], path: string): readonly string[] {
  try {
    return splitLines(readText(files, path, MAX_FILE_BYTES).text);
  } catch (e) {
    if (e instanceof JailError || e instanceof TooLargeError) return []; // binary, too large, or gone: skipped, as said
    throw e;
  }
}
