/**
 * `make bench`: measures, prints a table and writes e2e/bench/results.json. `--quick` takes fewer samples, `--only <word>` the measures
 * whose name has it, `--cluster` adds those of a real cluster (found or made as for `make e2e`). Figures mean something on an idle
 * machine only: the load at the beginning is printed with them. Started by hack/bench.ts, which knows where the cluster is.
 */
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { flagsOf, refuse } from '../usage.ts';
import { burst, coldWake, commits, outboundRate, twentyChats, warmOverhead } from './local.ts';
import { proxyCost } from './proxy.ts';
import { runnerFootprint } from './runner.ts';
import { printTable, type Result } from './sample.ts';
import { searchFigures } from './search.ts';

const { values: flags } = flagsOf('Started by hack/bench.ts: its --help says what it takes.', {
  options: {
    quick: { type: 'boolean' },
    only: { type: 'string' },
    cluster: { type: 'boolean' },
    output: { type: 'string', default: 'table' },
  },
});
if (flags.output !== 'table' && flags.output !== 'json') refuse(`--output is table or json, not ${flags.output}`);
const quick = flags.quick === true;

const measures: readonly (readonly [string, () => Promise<Result[]> | Result[]])[] = [
  ['warm', () => warmOverhead(quick ? 2 : 5, quick ? 20 : 60)],
  ['twenty', () => twentyChats(quick ? 5 : 25)],
  ['burst-silent', () => burst(false)],
  ['burst-wake', () => burst(true)],
  ['outbound', () => outboundRate(10, quick ? 50 : 200)],
  ['cold', () => coldWake(quick ? 3 : 12)],
  ['runner', () => runnerFootprint(quick ? 3 : 10)],
  ['search', () => searchFigures(quick ? 5 : 40)],
  ['proxy', () => proxyCost(quick ? 100 : 500, 200)],
  ['commit', () => commits(quick ? 50 : 200)],
  ...(flags.cluster === true ? [['cluster', () => onCluster(quick)] as const] : []),
];

/** With an installation of its own, as the scenarios have. */
async function onCluster(quick: boolean): Promise<Result[]> {
  await (await import('../harness/cluster-setup.ts')).default();
  return (await import('./cluster.ts')).clusterMeasures(quick);
}

process.stderr.write(
  `load before: ${loadavg()
    .map((load) => load.toFixed(2))
    .join(' ')}\n`,
);
const results: Result[] = [];
for (const [name, measure] of measures) {
  if (flags.only !== undefined && !name.includes(flags.only)) continue;
  process.stderr.write(`${name} …\n`);
  results.push(...(await measure()));
}
if (flags.output === 'json') console.log(JSON.stringify(results, null, 1));
else printTable(results);
if (flags.only === undefined && !quick) writeFileSync(join(import.meta.dirname, 'results.json'), `${JSON.stringify(results, null, 1)}\n`);
process.exit(0); // emulators and agents may hold connections for some seconds more
