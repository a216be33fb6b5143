/** Every path that a document names exists, and every make target it names too. Prints each that does not and exits 1. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { flagsOf } from '../../e2e/usage.ts';

flagsOf(
  'Prints each path and make target that a document names and that does not exist; ends with 1 when there is one.\n\nUsage: node hack/checks/docs.ts',
  {},
);

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const targets = new Set([...readFileSync(join(root, 'Makefile'), 'utf8').matchAll(/^([a-z0-9-]+):/gm)].map(([, name]) => name));
const documents = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter(Boolean);

/** What a run makes is not there in a fresh clone. */
const isMade = (path: string): boolean => spawnSync('git', ['check-ignore', '-q', path], { cwd: root }).status === 0;

let wrong = 0;
const says = (sentence: string): void => {
  console.error(sentence);
  wrong += 1;
};
for (const document of documents) {
  const text = readFileSync(join(root, document), 'utf8');
  for (const [, path = ''] of text.matchAll(/`((?:proto|crds|operator|runner|charts|e2e|hack|docs|\.ci)\/[A-Za-z0-9_./-]+)`/g)) {
    if (!existsSync(join(root, path)) && !isMade(path)) says(`${document} names ${path}, which does not exist`);
  }
  for (const [, path = ''] of text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)) {
    if (!existsSync(join(root, dirname(document), path))) says(`${document} links to ${path}, which does not exist`);
  }
  for (const [, target = ''] of text.matchAll(/`make ([a-z0-9-]+)`/g)) {
    if (!targets.has(target)) says(`${document} names make ${target}, which is no target`);
  }
}
process.exitCode = wrong === 0 ? 0 : 1;
