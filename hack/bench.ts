/** `make bench`: the measures of e2e/bench, with a cluster around them when `--cluster` asks for those that need one. */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withCluster } from './with-cluster.ts';

const main = join(dirname(fileURLToPath(import.meta.url)), '../e2e/bench/main.ts');
const args = process.argv.slice(2);

function measure(env: NodeJS.ProcessEnv): number {
  return spawnSync(process.execPath, [main, ...args], { env, stdio: 'inherit' }).status ?? 1;
}

process.exitCode = args.includes('--cluster')
  ? await withCluster(async (env) => measure({ ...process.env, ...env }))
  : measure(process.env);
