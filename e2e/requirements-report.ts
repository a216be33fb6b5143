/** `make requirements`: one line per id from the records of the last runs: id, met or unmet, where, by which test. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requirements } from './requirements.ts';
import { flagsOf, refuse } from './usage.ts';

const { values: flags } = flagsOf(
  `
One line per requirement, from the records of the last test runs: id, met or unmet, where it was shown, by which test.

Usage: node e2e/requirements-report.ts [--output text|json]
`,
  { options: { output: { type: 'string', default: 'text' } } },
);
if (flags.output !== 'text' && flags.output !== 'json') refuse(`--output is text or json, not ${flags.output}`);

const here = dirname(fileURLToPath(import.meta.url));

function record(where: 'local' | 'cluster'): ReadonlyMap<string, string> {
  try {
    const verified = JSON.parse(readFileSync(join(here, '.records', `${where}.json`), 'utf8')) as { id: string; test: string }[];
    return new Map(verified.map(({ id, test }) => [id, test]));
  } catch {
    return new Map(); // that half has not run here
  }
}

const local = record('local');
const cluster = record('cluster');
const rows = requirements.map(({ id, cluster: needsCluster }) => {
  const where = local.has(id) && cluster.has(id) ? 'both' : local.has(id) ? 'local' : cluster.has(id) ? 'cluster' : '-';
  const met = needsCluster ? cluster.has(id) : where !== '-';
  return { id, state: met ? 'met' : 'unmet', where, test: cluster.get(id) ?? local.get(id) ?? '-' };
});
if (flags.output === 'json') console.log(JSON.stringify(rows, null, 1));
else for (const { id, state, where, test } of rows) console.log([id, state, where, test].join('\t'));
