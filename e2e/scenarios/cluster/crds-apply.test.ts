/** The custom resource definitions on a real API server. */

import { type AdmittedCase, admitted, refused, sortedLines } from '@dovecote/crds/golden';
import { expect } from '@jest/globals';
import { conditionOf, execute, type KubeObject, kubectl, NAMESPACE } from '../../harness/cluster.ts';
import { clusterVerifies } from '../../harness/cluster-scenario.ts';

const PLURALS = ['agentgroups', 'channels', 'destinations', 'messaginggroups', 'sessions'];

async function definitions(): Promise<readonly KubeObject[]> {
  const names = PLURALS.map((plural) => `${plural}.dovecote.dev`);
  return (JSON.parse(await kubectl('get', 'crd', ...names, '-o', 'json')) as { items: KubeObject[] }).items;
}

clusterVerifies('kube/crds-apply', '`kubectl apply -f crds/` is accepted, structural, and the same as what Helm applied', async () => {
  const before = await definitions();
  const applied = await kubectl('apply', '-f', 'crds/');
  for (const plural of PLURALS) expect(applied).toContain(`customresourcedefinition.apiextensions.k8s.io/${plural}.dovecote.dev`);
  const after = await definitions();
  for (const [n, crd] of after.entries()) {
    expect(conditionOf(crd, 'Established')?.status).toBe('True');
    expect(conditionOf(crd, 'NamesAccepted')?.status).toBe('True');
    expect(conditionOf(crd, 'NonStructuralSchema')).toBeUndefined();
    expect(crd.metadata.generation).toBe(before[n]?.metadata.generation); // the spec that the server stores did not change
  }
});

clusterVerifies('kube/crds-apply', 'short names, the category and the columns work in kubectl', async (scenario) => {
  const agent = scenario.name('agent');
  await scenario.agent({}, agent);
  const heads = async (...args: string[]): Promise<string[]> =>
    ((await kubectl('get', ...args)).split('\n')[0] ?? '')
      .split(/\s{2,}/)
      .map((head) => head.trim())
      .filter((head) => head !== '');
  expect(await heads('ag', agent)).toEqual(['NAME', 'PROVIDER', 'MODEL', 'AWAKE', 'READY', 'AGE']);
  expect(await heads('ag', agent, '-o', 'wide')).toContain('REASON');
  expect(await kubectl('get', 'ag', agent)).toMatch(new RegExp(`${agent}\\s+demo\\s+.*True`));
  expect(await kubectl('get', 'dovecote', '-o', 'name')).toContain(`agentgroup.dovecote.dev/${agent}`);
  for (const short of ['ch', 'mg', 'dest', 'sess']) expect((await execute('kubectl', ['-n', NAMESPACE, 'get', short])).code).toBe(0);
  // A field that a kind declares selects on the server.
  expect(await kubectl('get', 'ag', '--field-selector', 'spec.provider.type=demo', '-o', 'name')).toContain(agent);
  expect(await kubectl('explain', 'agentgroups.spec.idleTimeout')).toContain('idle');
});

/** What kubectl says to an object that is to be refused, in the form of the table. */
const said = (stderr: string): string =>
  sortedLines(
    stderr
      .replace(/^Error from server \((?:BadRequest)\): error when (?:creating|replacing) "[^"]*": /, '')
      .replace(/^Error from server \(Invalid\): error when \w+ "[^"]*": /, ''),
  );

const inNamespace = (object: Record<string, unknown>, namespace: string): Record<string, unknown> => ({
  ...object,
  metadata: { ...(object['metadata'] as object), namespace },
});

/** Several at a time: each case has a namespace of its own, because all are named alike. */
async function each(
  scenario: { name(what: string): string; later(undo: () => Promise<unknown>): void },
  cases: readonly AdmittedCase[],
  check: (of: AdmittedCase, stderr: string, code: number | null) => void,
): Promise<void> {
  const lanes = await Promise.all(
    [0, 1, 2, 3].map(async (n) => {
      const namespace = scenario.name(`golden-${n}`);
      await kubectl('create', 'namespace', namespace);
      scenario.later(() => kubectl('delete', 'namespace', namespace, '--wait=false'));
      return namespace;
    }),
  );
  const waiting = [...cases];
  await Promise.all(
    lanes.map(async (namespace) => {
      for (let of = waiting.shift(); of !== undefined; of = waiting.shift()) {
        const run = (verb: string, object: Record<string, unknown>, ...args: string[]) =>
          execute('kubectl', ['--namespace', namespace, verb, '-f', '-', ...args], JSON.stringify(inNamespace(object, namespace)));
        if (of.old !== undefined) {
          const made = await run('create', of.old);
          if (made.code !== 0) throw new Error(`the old object of "${of.name}" was refused: ${made.stderr}`);
        }
        const verb = of.old === undefined ? 'create' : 'replace';
        const { stderr, code } = await run(verb, of.object, ...(of.subresource === undefined ? [] : [`--subresource=${of.subresource}`]));
        check(of, stderr, code);
        const { name } = of.object['metadata'] as { name: string };
        if (of.old !== undefined || code === 0)
          await execute('kubectl', ['--namespace', namespace, 'delete', of.kind, name, '--ignore-not-found']);
      }
    }),
  );
}

clusterVerifies(
  'kube/crds-apply',
  'objects that are wrong are refused with the sentences that people shall read, and good ones are taken',
  async (scenario) => {
    const differences: string[] = [];
    const messages = new Map(refused.map((of) => [of as AdmittedCase, of.message]));
    await each(scenario, [...refused, ...admitted], (of, stderr, code) => {
      const message = messages.get(of);
      if (message === undefined && code !== 0) differences.push(`${of.kind} "${of.name}" was refused: ${stderr}`);
      if (message === undefined) return;
      if (code === 0) differences.push(`${of.kind} "${of.name}" was taken`);
      else if (said(stderr) !== sortedLines(message))
        differences.push(`${of.kind} "${of.name}": ${said(stderr)}\n  instead of: ${sortedLines(message)}`);
    });
    expect(differences).toEqual([]);
  },
  180_000,
);
