/** `helm template`, where the machine has a helm: on PATH, named by HELM, or the one that the test cluster was built with. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parseAllDocuments } from 'yaml';

const built = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'dovecote/cluster');

export const helmPath: string | undefined = [
  process.env['HELM'] ?? '',
  ...(process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'helm')),
  ...(existsSync(built) ? readdirSync(built).map((version) => join(built, version, 'bin/helm')) : []),
].find((path) => path !== '' && existsSync(path));

export interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec?: unknown;
}

/** The chart's objects with these `--set-json` values. Throws what helm says, such as the schema's refusal. */
export function renderChart(...values: readonly string[]): readonly Rendered[] {
  if (helmPath === undefined) throw new Error('this machine has no helm: name one in HELM');
  const args = ['template', 'dovecote', 'charts/dovecote', ...values.flatMap((value) => ['--set-json', value])];
  const text = execFileSync(helmPath, args, { encoding: 'utf8', stdio: 'pipe', maxBuffer: 2 ** 26 });
  return parseAllDocuments(text).flatMap((document) => (document.toJS() as Rendered | null) ?? []);
}
