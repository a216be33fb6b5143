/** What a person needs when a scenario failed: written to e2e/.records/<scenario>/ before the scenario tidies up. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execute, NAMESPACE, root } from './cluster.ts';

const records = join(root, 'e2e/.records');

/** Takes away what earlier runs wrote, so that each folder there is of a scenario that failed now. The records themselves stay. */
export function clearDiagnostics(): void {
  mkdirSync(records, { recursive: true });
  for (const entry of readdirSync(records, { withFileTypes: true }))
    if (entry.isDirectory()) rmSync(join(records, entry.name), { recursive: true });
}

/** Never rejects: it runs while another failure is being told. */
export async function writeDiagnostics(scenario: string): Promise<string> {
  const folder = join(records, scenario.replace(/[^A-Za-z0-9.-]+/g, '-').slice(0, 80));
  mkdirSync(folder, { recursive: true });
  const keep = async (file: string, ...args: string[]): Promise<string> => {
    const { stdout, stderr } = await execute('kubectl', ['--namespace', NAMESPACE, ...args]).catch((e: unknown) => ({
      stdout: '',
      stderr: String(e),
    }));
    writeFileSync(join(folder, file), stdout + stderr);
    return stdout;
  };
  await keep('objects.txt', 'get', 'pods,dovecote,statefulsets,deployments,leases,pvc', '-o', 'wide');
  await keep('objects.yaml', 'get', 'dovecote,pods', '-o', 'yaml');
  await keep('events.txt', 'get', 'events.events.k8s.io', '--sort-by=.metadata.creationTimestamp');
  const pods = (await keep('pods.txt', 'get', 'pods', '-o', 'name')).split('\n').filter((name) => name !== '');
  for (const pod of pods) {
    await keep(`${pod.slice(4)}.log`, 'logs', pod, '--tail=2000', '--all-containers');
    await keep(`${pod.slice(4)}.previous.log`, 'logs', pod, '--tail=500', '--previous');
  }
  return folder;
}
