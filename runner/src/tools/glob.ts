import { matchesGlob } from 'node:path';
import { walkFiles } from '@dovecote/proto';
import { z } from 'zod';
import { defineTool } from './tool.ts';
import { withinTime } from './within-time.ts';

const MAX_FOUND = 500;
const MAX_VISITED = 200_000;

export const globTool = defineTool({
  name: 'glob',
  description: 'Finds files by a pattern such as **/*.md, newest first. Links are not followed; .git and node_modules are not entered.',
  input: z.object({
    pattern: z.string().min(1).max(1_000).describe('The pattern, relative to path.'),
    path: z.string().max(4096).optional().describe('Where to begin; the workspace when absent.'),
  }),
  permission: 'always',
  repeatable: true,
  async run({ pattern, path = '.' }, { files }) {
    const all = [...walkFiles(files, path, MAX_VISITED)];
    const found = withinTime(pattern, () => all.filter(({ relative }) => matchesGlob(relative, pattern))).sort(
      (a, b) => b.stats.mtimeMs - a.stats.mtimeMs || (a.relative < b.relative ? -1 : 1),
    );
    if (found.length === 0) return 'No file matches.';
    const lines = found.slice(0, MAX_FOUND).map(({ relative }) => relative);
    if (found.length > MAX_FOUND) lines.push(`(${found.length - MAX_FOUND} more files)`);
    return lines.join('\n');
  },
});
