/**
 * Bundles the two programs into dist/, as the images run them: main.mjs and a file for each thread, and beside them what is native and what
 * is loaded only when it is needed, such as the client of a model provider.
 */
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { flagsOf } from '../e2e/usage.ts';

flagsOf('Bundles operator and runner into dist/, as the images run them.\n\nUsage: node hack/bundle.ts', {});

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

async function bundle(
  name: 'operator' | 'runner',
  assets: readonly string[],
  native: readonly string[],
  threads: readonly string[] = [],
): Promise<void> {
  const done = join(root, 'dist', name);
  // Built aside and put in place at once: a test that runs meanwhile finds a whole program.
  const out = join(root, 'dist', `.${name}-${process.pid}`);
  mkdirSync(out, { recursive: true });
  await build({
    entryPoints: ['main.ts', ...threads].map((file) => ({ in: join(root, name, 'src', file), out: basename(file, '.ts') })),
    outdir: out,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true, // what is not loaded takes no memory: 9 MB less in an idle runner
    platform: 'node',
    target: 'node24',
    format: 'esm',
    minifySyntax: true,
    sourcemap: 'linked',
    sourcesContent: false,
    external: ['better-sqlite3'],
    // telegraf's fetch asks for Node's own punycode, which is deprecated: the first thing a newcomer would see is a warning.
    alias: { punycode: 'punycode/' },
    legalComments: 'none',
    logLevel: 'warning',
    // CommonJS packages inside an ES module still call require().
    banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
  });
  for (const path of native) {
    const from = join(root, 'node_modules', path);
    if (statSync(from, { throwIfNoEntry: false })) cpSync(from, join(out, 'node_modules', path), { recursive: true });
  }
  for (const asset of assets) cpSync(join(root, name, 'src', asset), join(out, asset.split('/').at(-1) ?? asset), { recursive: true });
  rmSync(done, { recursive: true, force: true });
  renameSync(out, done);
}

const SQLITE = [
  'package.json',
  'lib',
  `prebuilds/${process.platform}-${process.arch}.node`,
  `prebuilds/linuxmusl-${process.arch}.node`,
  'build/Release',
].map((part) => `better-sqlite3/${part}`);
/** Terminals for commands: of this machine's platform, as npm installed it. */
const PTY = `@lydell/node-pty-${process.platform}-${process.arch}`;
const pages = readdirSync(join(root, 'operator/src/gateway/web')).map((name) => `gateway/web/${name}`);
await Promise.all([bundle('operator', pages, SQLITE, ['delivery/search/search-worker.ts']), bundle('runner', [], [...SQLITE, PTY])]);
