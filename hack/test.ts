/**
 * Runs one half of the tests (`local` or `cluster`), keeps a record of which requirement each passed test verified, and fails when a
 * claimed requirement was verified by none. Prints "dovecote tests: P passed, F failed" last.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requirements } from '../e2e/requirements.ts';
import { flagsOf, refuse } from '../e2e/usage.ts';
import { withCluster } from './with-cluster.ts';

/** What hack/record-reporter.mjs writes. */
interface RunRecord {
  readonly passed: number;
  readonly failed: number;
  readonly brokenSuites: number;
  readonly tests: readonly { readonly title: string; readonly fullName: string; readonly status: string }[];
}

/** One verified requirement, as `make requirements` reads it. */
export interface Verified {
  readonly id: string;
  readonly test: string;
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const records = join(root, 'e2e/.records');
const { positionals } = flagsOf(
  `
Runs one half of the tests, keeps a record of which requirement each passed test verified, and fails when a claimed one was verified by none.

Usage: node hack/test.ts local|cluster [PATH...]

With paths, jest runs those test files alone, and the record stays as it is. Ends with 0 when all passed, else with 1.
`,
  { allowPositionals: true, strict: false },
);
const [half] = positionals;
if (half !== 'local' && half !== 'cluster') refuse(`the first word is local or cluster, not ${half ?? 'nothing'}`);
const where = half;

function runJest(env: NodeJS.ProcessEnv): RunRecord | undefined {
  const file = join(records, `${where}.run.json`);
  rmSync(file, { force: true });
  const config = join(root, where === 'local' ? 'jest.config.mjs' : 'e2e/jest.cluster.mjs');
  const args = [join(root, 'node_modules/jest/bin/jest.js'), '--config', config];
  spawnSync(process.execPath, [...args, ...process.argv.slice(3)], {
    cwd: root,
    env: {
      ...env,
      DOVECOTE_TEST_RECORD: file,
      DOVECOTE_BUILT: join(root, 'dist'), // `make build` ran just before
      // Processes that run from source: the second of a kind need not be compiled again.
      NODE_COMPILE_CACHE: join(root, 'dist/.compile-cache'),
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as RunRecord;
  } catch {
    return undefined; // jest itself died; it said why on stderr
  }
}

/** The requirements that a test names in its title, or in that of a suite around it. */
function idsIn(fullName: string): string[] {
  return requirements.flatMap(({ id }) => (fullName.includes(`[${id}]`) ? [id] : []));
}

function report(result: RunRecord | undefined): number {
  if (result === undefined) {
    console.log('dovecote tests: 0 passed, 1 failed (the test runner did not finish)');
    return 1;
  }
  const passed = result.tests.filter(({ status }) => status === 'passed');
  const verified: Verified[] = passed.flatMap(({ fullName }) => idsIn(fullName).map((id) => ({ id, test: fullName })));
  const partial = process.argv.length > 3; // a filtered run proves nothing about what it left out
  if (!partial) writeFileSync(join(records, `${where}.json`), `${JSON.stringify(verified, null, 1)}\n`);
  const seen = new Set(verified.map(({ id }) => id));
  // A cluster that is not ours may not show its audit log or its nodes: what needs them is skipped there, and said so.
  const skipped = new Set(
    where === 'cluster' ? result.tests.flatMap(({ status, fullName }) => (status === 'pending' ? idsIn(fullName) : [])) : [],
  );
  for (const id of skipped) if (!seen.has(id)) console.log(`not verified on this cluster, its test was skipped: ${id}`);
  const unverified = partial
    ? []
    : requirements.filter(({ id, claimed }) => (claimed === where || claimed === 'both') && !seen.has(id) && !skipped.has(id));
  for (const { id } of unverified) console.log(`claimed, but verified by no test that passed: ${id}`);
  const failed = result.failed + result.brokenSuites + unverified.length;
  console.log(`dovecote tests: ${result.passed} passed, ${failed} failed`);
  return failed === 0 && result.passed > 0 ? 0 : 1;
}

mkdirSync(records, { recursive: true });
process.exitCode =
  where === 'local' ? report(runJest(process.env)) : await withCluster(async (env) => report(runJest({ ...process.env, ...env })));
