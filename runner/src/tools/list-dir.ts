import { listEntries } from '@dovecote/proto';
import { z } from 'zod';
import { defineTool } from './tool.ts';

const MAX_ENTRIES = 1_000;

export const listDir = defineTool({
  name: 'list_dir',
  description: 'Lists a folder: names, sizes in bytes, a slash behind folders. Links are marked with @ and are not followed.',
  input: z.object({ path: z.string().max(4096).optional().describe('The folder; the workspace when absent.') }),
  permission: 'always',
  repeatable: true,
  async run({ path = '.' }, { files }) {
    const entries = listEntries(files, path);
    if (entries.length === 0) return '(the folder is empty)';
    const lines = entries.slice(0, MAX_ENTRIES).map(({ name, stats }) => {
      if (stats.isDirectory()) return `${name}/`;
      return stats.isSymbolicLink() ? `${name}@` : `${name}\t${stats.size}`;
    });
    if (entries.length > MAX_ENTRIES) lines.push(`(${entries.length - MAX_ENTRIES} more entries)`);
    return lines.join('\n');
  },
});
