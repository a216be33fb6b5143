import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Pod } from '../../kube/resource-types.ts';
import { commandOf } from './command.ts';
import { LogFile } from './log-file.ts';
import { mountVolumes, translate } from './volumes.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'volumes-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const podOf = (spec: object): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a', namespace: 'doves', uid: 'u', resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec,
  }) as Pod;
const deps = {
  claimRoot: (claim: string) => (claim === 'shard' ? join(dir, 'shard') : undefined),
  configMap: async (name: string) => (name === 'zoo' ? { data: { 'SKILL.md': 'text' }, binaryData: { 'a.bin': 'AAE=' } } : undefined),
  mintToken: () => 'token',
};

describe('translate()', () => {
  const mounts = [
    { mountPath: '/cell/in', hostPath: '/s/in' },
    { mountPath: '/cell', hostPath: '/s' },
  ];
  test.each([
    ['/cell/in', '/s/in'],
    ['/cell/in/inbound.db', '/s/in/inbound.db'],
    ['/cell/inside', '/s/inside'],
    ['--in=/cell/in', '--in=/s/in'],
    ['--note=a=/cell/in', '--note=a=/cell/in'],
    ['/celled', '/celled'],
    ['text /cell/in', 'text /cell/in'],
    ['info', 'info'],
  ])('%s is %s', (argument, want) => expect(translate(argument, mounts)).toBe(want));
});

describe('mountVolumes()', () => {
  test('makes folders only their owner can enter', async () => {
    const pod = podOf({
      containers: [{ volumeMounts: [{ name: 'v', mountPath: '/tmp' }] }],
      volumes: [{ name: 'v', emptyDir: {} }],
    });
    const [mount] = await mountVolumes(pod, join(dir, 'pod'), deps);
    expect(mount).toEqual({ mountPath: '/tmp', hostPath: join(dir, 'pod/volumes/v') });
    expect(statSync(join(dir, 'pod/volumes/v')).mode & 0o777).toBe(0o700);
  });

  test.each(['../other', 'cells/../../x', '/etc'])('refuses the subPath %s', async (subPath) => {
    const pod = podOf({
      containers: [{ volumeMounts: [{ name: 'v', mountPath: '/x', subPath }] }],
      volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'shard' } }],
    });
    await expect(mountVolumes(pod, join(dir, 'pod'), deps)).rejects.toThrow('leads out of its volume');
  });

  test('names a claim that does not exist', async () => {
    const pod = podOf({ containers: [{}], volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'nope' } }] });
    await expect(mountVolumes(pod, join(dir, 'pod'), deps)).rejects.toThrow('there is no PersistentVolumeClaim nope');
  });

  test('writes the files of a ConfigMap, anew at each start; one that is missing is an empty folder where it is optional', async () => {
    const of = (name: string, optional?: true) =>
      podOf({
        containers: [{ volumeMounts: [{ name: 'v', mountPath: '/skills/x' }] }],
        volumes: [{ name: 'v', configMap: { name, ...(optional && { optional }) } }],
      });
    const [mount] = await mountVolumes(of('zoo'), join(dir, 'pod'), deps);
    expect(readFileSync(join(mount?.hostPath ?? '', 'SKILL.md'), 'utf8')).toBe('text');
    expect([...readFileSync(join(mount?.hostPath ?? '', 'a.bin'))]).toEqual([0, 1]);
    await expect(mountVolumes(of('none'), join(dir, 'pod'), deps)).rejects.toThrow('there is no ConfigMap none');
    const [empty] = await mountVolumes(of('none', true), join(dir, 'pod'), deps);
    expect(existsSync(join(empty?.hostPath ?? '', 'SKILL.md'))).toBe(false);
    expect(existsSync(empty?.hostPath ?? '')).toBe(true);
  });

  test('names a kind of volume that it does not know', async () => {
    const pod = podOf({ containers: [{}], volumes: [{ name: 'v', hostPath: { path: '/' } }] });
    await expect(mountVolumes(pod, join(dir, 'pod'), deps)).rejects.toThrow('cannot mount volume v');
  });
});

describe('commandOf()', () => {
  test('expands variables as a kubelet does and leaves unknown ones', () => {
    const pod = podOf({
      containers: [
        {
          args: ['--listen', '$(POD_IP):9090', '$(NOBODY)'],
          env: [
            { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
            { name: 'ME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
            { name: 'HOME', value: '/workspace' },
          ],
        },
      ],
    });
    expect(commandOf(pod, [{ mountPath: '/workspace', hostPath: '/s/w' }], ['node', 'main.ts'], '/bin')).toEqual({
      file: 'node',
      args: ['main.ts', '--listen', '127.0.0.1:9090', '$(NOBODY)'],
      env: { PATH: '/bin', POD_IP: '127.0.0.1', ME: 'a', HOME: '/s/w' },
    });
  });
});

describe('LogFile', () => {
  test('begins a new file when it is full and keeps the one before', () => {
    const path = join(dir, 'logs/a.log');
    const log = new LogFile(path, 10);
    for (const text of ['12345\n', '67890\n', 'abc\n']) log.write(Buffer.from(text));
    log.close();
    expect(readFileSync(path, 'utf8')).toBe('67890\nabc\n');
    expect(readFileSync(`${path}.1`, 'utf8')).toBe('12345\n');
    expect(existsSync(`${path}.2`)).toBe(false);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('goes on where an earlier run left off', () => {
    const path = join(dir, 'a.log');
    for (const text of ['one\n', 'two\n']) {
      const log = new LogFile(path, 100);
      log.write(Buffer.from(text));
      log.close();
    }
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n');
  });

  test('knows the last whole lines, once', () => {
    const log = new LogFile(join(dir, 'a.log'), 1_000_000);
    log.write(Buffer.from(`${'x'.repeat(3_000)}\nlast but one\nlast\n`));
    expect(log.takeTail()).toBe('last but one\nlast');
    expect(log.takeTail()).toBe('');
    log.close();
  });
});
