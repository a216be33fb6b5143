/** The fences between parts: who may import whom. Prints each breach and exits 1. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { flagsOf } from '../../e2e/usage.ts';

flagsOf('Prints each import that crosses a fence between parts; ends with 1 when there is one.\n\nUsage: node hack/checks/fences.ts', {});

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** Below each folder, the import paths (resolved, from the root) that are allowed; node: and packages of others always are. */
const FENCES: readonly { readonly from: string; readonly may: readonly string[] }[] = [
  { from: 'proto', may: ['proto'] },
  { from: 'crds', may: ['crds'] },
  { from: 'runner', may: ['runner', '@dovecote/proto'] },
  { from: 'operator/src/lib', may: ['operator/src/lib'] },
  { from: 'operator/src/kube', may: ['operator/src/kube', 'operator/src/lib', '@dovecote/crds'] },
  ...['controller', 'gateway', 'delivery', 'proxy'].map((role) => ({
    from: `operator/src/${role}`,
    may: [`operator/src/${role}`, 'operator/src/lib', 'operator/src/kube', '@dovecote/proto', '@dovecote/crds'],
  })),
];

/** What a program is made of: not tests, nor what only tests use. */
const source = (path: string): boolean => path.endsWith('.ts') && !/\.test(-suite)?\.ts$|\/testing\/|\/faulty-|\/manual-clock/.test(path);

function* files(folder: string): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory() && !['node_modules', 'gen', 'dist'].includes(entry.name)) yield* files(path);
    else if (entry.isFile() && source(path)) yield path;
  }
}

let breaches = 0;
for (const { from, may } of FENCES) {
  for (const file of files(from)) {
    const text = readFileSync(join(root, file), 'utf8');
    for (const [, spec = ''] of text.matchAll(/^(?:import|export)\s(?:[^'"]*?\sfrom\s)?['"]([^'"]+)['"]/gm)) {
      if (!spec.startsWith('.') && !spec.startsWith('@dovecote/')) continue;
      const target = spec.startsWith('.') ? relative(root, join(root, dirname(file), spec)) : spec;
      if (may.some((allowed) => target === allowed || target.startsWith(`${allowed}/`))) continue;
      console.error(`${file} must not import ${spec}: below ${from} only ${may.join(', ')}`);
      breaches += 1;
    }
    const outside = /process\.env|Date\.now\(\)|Math\.random\(\)|\bset(?:Timeout|Interval)\(/.exec(text)?.[0];
    const allowed =
      from === 'proto' || file.startsWith('operator/src/lib/') || file.startsWith('runner/src/lifecycle/') || file.endsWith('/main.ts');
    if (outside !== undefined && !allowed) {
      console.error(`${file} must not use ${outside}: time, chance and configuration are passed in`);
      breaches += 1;
    }
  }
}
process.exitCode = breaches === 0 ? 0 : 1;
