/** jest's globalSetup of the scenarios on a cluster: one installation by Helm for the whole run, in a namespace that enforces `restricted`. */

import { execute, fact, helm, kubectl, NAMESPACE, RELEASE, untilInstallationReady } from './cluster.ts';
import { clearDiagnostics, writeDiagnostics } from './cluster-diagnostics.ts';
import { until } from './until.ts';

/** An image name as the chart's values take it. */
function imageValues(role: 'operator' | 'runner', image: string): string[] {
  const colon = image.lastIndexOf(':');
  return ['--set', `image.${role}.repository=${image.slice(0, colon)}`, '--set-string', `image.${role}.tag=${image.slice(colon + 1)}`];
}

/** The values of the installation under test. */
export function chartValues(): string[] {
  return [
    ...imageValues('operator', fact('DOVECOTE_OPERATOR_IMAGE')),
    ...imageValues('runner', fact('DOVECOTE_RUNNER_IMAGE')),
    ...['--set', 'gateway.service.type=NodePort', '--set', 'logLevel=debug'],
    ...['--set', 'delivery.storage.size=1Gi', '--set', 'proxy.replicas=1'],
  ];
}

export default async function setup(): Promise<void> {
  clearDiagnostics();
  const labels = ['enforce', 'warn'].map((mode) => `pod-security.kubernetes.io/${mode}=restricted`);
  // What an earlier run on this cluster left: volumes and objects of it would be part of this one.
  if ((await execute('helm', ['status', RELEASE, '--namespace', NAMESPACE])).code === 0) await helm('uninstall', RELEASE, '--wait');
  await execute('kubectl', ['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait', '--timeout=120s']);
  await kubectl('create', 'namespace', NAMESPACE);
  await kubectl('label', 'namespace', NAMESPACE, ...labels);
  await until(
    'the namespace has its service account',
    async () => (await execute('kubectl', ['-n', NAMESPACE, 'get', 'sa', 'default'])).code === 0,
  );
  // Definitions that another installation left stay when it goes: this one takes them over.
  await helm('install', RELEASE, 'charts/dovecote', '--take-ownership', ...chartValues());
  try {
    await untilInstallationReady();
  } catch (e) {
    throw new Error(`the installation does not become ready: see ${await writeDiagnostics('installation')}`, { cause: e });
  }
}
