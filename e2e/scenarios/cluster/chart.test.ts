/** The chart, as a person installs it. */
import { expect } from '@jest/globals';
import { execute, helm, kubectl, NAMESPACE, podsOf, RELEASE } from '../../harness/cluster.ts';
import { clusterVerifies } from '../../harness/cluster-scenario.ts';
import { chartValues } from '../../harness/cluster-setup.ts';
import { until } from '../../harness/until.ts';

clusterVerifies('ops/chart', 'a value that does not exist is refused, the notes say what comes next, and helm test passes', async () => {
  const wrong = await execute('helm', ['template', 'charts/dovecote', '--set', 'gateway.sevice.type=NodePort']);
  expect(wrong.code).not.toBe(0);
  expect(wrong.stderr).toContain("additional properties 'sevice' not allowed");
  expect(await helm('get', 'notes', RELEASE)).toContain('kubectl');
  expect(await helm('test', RELEASE, '--timeout', '60s')).toContain('Succeeded');
});

clusterVerifies(
  'ops/chart',
  'an upgrade that changes nothing restarts nothing, and what is uninstalled leaves its volumes and the definitions behind',
  async (scenario) => {
    const uids = async (): Promise<string[]> =>
      (await Promise.all((['controller', 'gateway', 'delivery', 'proxy'] as const).map(podsOf)))
        .flat()
        .map(({ metadata }) => metadata.uid)
        .sort();
    const before = await uids();
    await helm('upgrade', RELEASE, 'charts/dovecote', '--wait', '--timeout', '120s', ...chartValues());
    expect(await uids()).toEqual(before);

    const other = scenario.name('second');
    const inOther = async (...args: string[]): Promise<string> => (await execute('kubectl', ['--namespace', other, ...args])).stdout;
    await kubectl('create', 'namespace', other);
    scenario.later(() => kubectl('delete', 'namespace', other, '--wait=false'));
    await kubectl('label', 'namespace', other, 'pod-security.kubernetes.io/enforce=restricted');
    const values = [...chartValues(), '--set', 'crds.enabled=false', '--set', 'controller.replicas=1', '--set', 'gateway.replicas=1'];
    const installed = await execute('helm', [
      'install',
      'second',
      'charts/dovecote',
      '--namespace',
      other,
      '--wait',
      '--timeout',
      '120s',
      ...values,
    ]);
    expect(installed.stderr).toBe('');
    expect(await inOther('get', 'pvc', '-o', 'jsonpath={.items[*].status.phase}')).toBe('Bound');
    expect((await execute('helm', ['uninstall', 'second', '--namespace', other, '--wait'])).code).toBe(0);
    await until('its Pods are gone', async () => (await inOther('get', 'pods', '-o', 'name')) === '');
    expect(await inOther('get', 'pvc', '-o', 'name')).toContain('data-second-delivery-0');
    expect(await kubectl('get', 'crd', '-o', 'name')).toContain('sessions.dovecote.dev');
    expect(await kubectl('get', 'namespace', NAMESPACE, '-o', 'name')).toContain(NAMESPACE);
  },
  240_000,
);

clusterVerifies(
  'sec/least-rbac',
  'each role may do what it does and no more: no wildcard, no list of Secrets, no Pods but for the controller',
  async () => {
    const may = async (role: string, verb: string, resource: string, subresource = ''): Promise<boolean> =>
      (
        await execute('kubectl', [
          'auth',
          'can-i',
          verb,
          resource,
          '--namespace',
          NAMESPACE,
          '--as',
          `system:serviceaccount:${NAMESPACE}:${RELEASE}-${role}`,
          `--subresource=${subresource}`,
        ])
      ).stdout.trim() === 'yes';
    for (const role of ['controller', 'gateway', 'delivery', 'proxy']) {
      expect(await may(role, 'list', 'secrets')).toBe(false);
      expect(await may(role, 'create', 'pods', 'exec')).toBe(false);
      expect(await may(role, '*', '*')).toBe(false);
      expect([role, await may(role, 'create', 'pods')]).toEqual([role, role === 'controller']);
      expect([role, await may(role, 'get', 'secrets')]).toEqual([role, role !== 'delivery']); // it holds no credential of a platform or a model
      expect([role, await may(role, 'patch', 'sessions.dovecote.dev')]).toEqual([role, role === 'delivery' || role === 'controller']);
      expect([role, await may(role, 'patch', 'sessions.dovecote.dev', 'status')]).toEqual([role, role === 'controller']);
    }
    const agent = await execute('kubectl', [
      'auth',
      'can-i',
      'get',
      'pods',
      '--namespace',
      NAMESPACE,
      '--as',
      `system:serviceaccount:${NAMESPACE}:dovecote-agent-any`,
    ]);
    expect(agent.stdout.trim()).toBe('no');
    const roles = await kubectl(
      'get',
      'roles',
      '-l',
      `app.kubernetes.io/instance=${RELEASE}`,
      '-o',
      'jsonpath={.items[*].rules[*].verbs[*]}{" "}{.items[*].rules[*].resources[*]}',
    );
    expect(roles.split(' ')).not.toContain('*');
  },
);
