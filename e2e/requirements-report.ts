/** `make requirements`: one line per id from the records of the last runs: id, met or unmet, where, by which test. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requirements } from './requirements.ts';

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
for (const { id, cluster: needsCluster } of requirements) {
  const where = local.has(id) && cluster.has(id) ? 'both' : local.has(id) ? 'local' : cluster.has(id) ? 'cluster' : '-';
  const met = needsCluster ? cluster.has(id) : where !== '-';
  console.log([id, met ? 'met' : 'unmet', where, cluster.get(id) ?? local.get(id) ?? '-'].join('\t'));
}
