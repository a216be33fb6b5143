import { AgentGroup, parse, Session } from '@dovecote/crds';
import { describe, expect, test } from '@jest/globals';
import type { Pod } from '../../kube/resource-types.ts';
import type { NewObject } from '../../kube/store.ts';
import { expectGolden } from '../testing/golden-file.ts';
import { buildPod } from './pod.ts';
import { clusterRuntime, localRuntime, type PodRuntime } from './runtime.ts';

const metadata = (name: string, uid: string) => ({
  name,
  namespace: 'doves',
  uid,
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: '2026-01-01T00:00:00Z',
});
const session = (spec: object = {}) =>
  parse(Session, {
    apiVersion: 'dovecote.dev/v1alpha1',
    kind: 'Session',
    metadata: metadata('helper-abcdefghij', '5e551011-0000-4000-a000-000000000000'),
    spec: {
      agentGroupRef: 'helper',
      agentGroupUid: 'a9e47000-0000-4000-a000-000000000000',
      shard: '1',
      scope: 'slack-main/C1',
      awake: true,
      ...spec,
    },
  });
const agentGroup = (spec: object = {}) =>
  parse(AgentGroup, {
    apiVersion: 'dovecote.dev/v1alpha1',
    kind: 'AgentGroup',
    metadata: metadata('helper', 'a9e47000-0000-4000-a000-000000000000'),
    spec: { provider: { type: 'demo' }, ...spec },
  });
const cluster: PodRuntime = clusterRuntime({
  image: 'localhost/dovecote-runner:1',
  attach: 'dovecote-delivery-{shard}.dovecote-delivery:7070',
  proxy: 'http://dovecote-proxy:8080',
});
const hash = (pod: NewObject<Pod>) => pod.metadata.annotations?.['dovecote.dev/template-hash'];
const container = (pod: NewObject<Pod>) => pod.spec?.containers?.[0];

describe('buildPod()', () => {
  test('of the smallest agent on a cluster', () => {
    expectGolden(new URL('./golden/pod.cluster.yaml', import.meta.url), buildPod(session(), agentGroup(), cluster, 0));
  });

  test('of an agent and an installation that say everything', () => {
    const pod = buildPod(
      session(),
      agentGroup({
        image: 'registry.example.com/runner:2',
        runtimeClassName: 'crun',
        skills: [{ configMapRef: 'skill-zoo' }, { configMapRef: 'skill.art' }],
        podLabels: { team: 'birds', 'app.kubernetes.io/managed-by': 'someone-else', 'dovecote.dev/session': 'another' },
        resources: { requests: { cpu: '2', memory: '4Gi' }, limits: { 'ephemeral-storage': '8Gi' } },
      }),
      {
        ...cluster,
        imagePullPolicy: 'IfNotPresent',
        imagePullSecrets: ['registry'],
        priorityClassName: 'agents',
        tolerations: [{ key: 'dedicated', operator: 'Equal', value: 'agents', effect: 'NoSchedule' }],
        shardLabel: 'apps.kubernetes.io/pod-index',
      },
      3,
    );
    expectGolden(new URL('./golden/pod.everything.yaml', import.meta.url), pod);
  });

  test('of local mode', () => {
    const runtime = localRuntime({ attach: '127.0.0.1:7070', proxy: 'http://127.0.0.1:8080' });
    expectGolden(new URL('./golden/pod.local.yaml', import.meta.url), buildPod(session(), agentGroup(), runtime, 0));
  });

  test('holds no instructions and no key: those pass through the cell and the proxy', () => {
    const secretive = agentGroup({
      instructions: 'the plan nobody may see',
      provider: { type: 'anthropic', anthropic: { credentialsRef: { name: 'anthropic-key' } } },
    });
    const text = JSON.stringify(buildPod(session(), secretive, cluster, 0));
    expect(text).not.toContain('the plan');
    expect(text).not.toContain('anthropic');
    expect(text).not.toContain('secretKeyRef');
  });

  test('has the same hash for the same wish, and another for another', () => {
    const base = hash(buildPod(session(), agentGroup(), cluster, 0));
    expect(hash(buildPod(session({ title: 'About pigeons' }), agentGroup(), cluster, 2))).toBe(base);
    expect(hash(buildPod(session(), agentGroup({ instructions: 'Coo.' }), cluster, 0))).toBe(base);
    expect(hash(buildPod(session(), agentGroup(), { ...cluster, image: 'localhost/dovecote-runner:2' }, 0))).not.toBe(base);
    expect(hash(buildPod(session(), agentGroup({ podLabels: { team: 'birds' } }), cluster, 0))).not.toBe(base);
  });

  test('meets the restricted Pod Security Standard', () => {
    const pod = buildPod(session(), agentGroup(), cluster, 0);
    expect(pod.spec?.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(container(pod)?.securityContext).toMatchObject({ allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } });
    for (const forbidden of ['hostNetwork', 'hostPID', 'hostIPC', 'initContainers']) expect(pod.spec).not.toHaveProperty(forbidden);
    const volumeKinds = (pod.spec?.volumes ?? []).flatMap((volume) => Object.keys(volume ?? {}).filter((key) => key !== 'name'));
    expect(volumeKinds).toEqual(['persistentVolumeClaim', 'emptyDir', 'projected']);
  });

  test('mounts of the shard volume only what is its own, and in/ read-only', () => {
    const mounts = (container(buildPod(session(), agentGroup(), cluster, 0))?.volumeMounts ?? []).filter(
      (mount) => mount?.name === 'shard',
    );
    expect(mounts.every((mount) => (mount?.subPath ?? '') !== '')).toBe(true);
    expect(mounts.filter((mount) => mount?.readOnly).map((mount) => mount?.mountPath)).toEqual(['/cell/in']);
  });
});
