/** `make bench`: the measures of e2e/bench, with a cluster around them when `--cluster` asks for those that need one. */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { flagsOf } from '../e2e/usage.ts';
import { withCluster } from './with-cluster.ts';

const main = join(dirname(fileURLToPath(import.meta.url)), '../e2e/bench/main.ts');
const args = process.argv.slice(2);
const { values: flags } = flagsOf(
  `
Measures, prints a table and writes e2e/bench/results.json. Needs what \`make build\` makes; figures mean something on an idle machine only.

Usage: node hack/bench.ts [--quick] [--only WORD] [--cluster] [--output table|json]

  --quick    fewer samples; writes no results
  --only     the measures whose name has WORD: warm, twenty, burst-silent, burst-wake, outbound, cold, runner, search, proxy, commit, cluster
  --cluster  those of a real cluster too: the one of KUBECONFIG, else kind, else one that is built from source
  --output   what is printed (table)
`,
  { options: { quick: { type: 'boolean' }, only: { type: 'string' }, cluster: { type: 'boolean' }, output: { type: 'string' } } },
);

function measure(env: NodeJS.ProcessEnv): number {
  return spawnSync(process.execPath, [main, ...args], { env, stdio: 'inherit' }).status ?? 1;
}

process.exitCode = flags.cluster === true ? await withCluster(async (env) => measure({ ...process.env, ...env })) : measure(process.env);
