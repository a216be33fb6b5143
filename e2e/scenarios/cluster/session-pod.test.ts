/** The whole way once: a signed Slack event wakes a session's Pod, and the answer arrives in the thread. */
import { expect } from '@jest/globals';
import { get, kubectl, list, NAMESPACE, podsOf } from '../../harness/cluster.ts';
import { clusterVerifies, sessionOf, texts, untilAwake } from '../../harness/cluster-scenario.ts';

clusterVerifies(
  'kube/session-pod',
  'a signed Slack event wakes a Pod beside its shard, and the answer arrives in the thread',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({}, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('hello from the cluster');
    await slack.answer(ts, 'You said: hello from the cluster');
    expect(await slack.replies(ts)).toHaveLength(1);
    expect(texts(await slack.inChat())).toEqual([]); // in the thread, not beside it

    const session = await sessionOf(agent);
    const { name } = session.metadata;
    await untilAwake(name);
    const pod = await get('pod', name);
    const [delivery] = await podsOf('delivery');
    expect(pod?.metadata.ownerReferences).toMatchObject([{ kind: 'Session', name, uid: session.metadata.uid }]);
    expect(pod?.spec?.['nodeName']).toBe(delivery?.spec?.['nodeName']);
    expect(pod?.spec?.['affinity']).toMatchObject({
      podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'kubernetes.io/hostname' }] },
    });

    // Only its own folders of the volume, and the tray of the host read-only.
    const [container] = (pod?.spec?.['containers'] ?? []) as {
      volumeMounts: { name: string; mountPath: string; subPath?: string; readOnly?: boolean }[];
    }[];
    const shard = container?.volumeMounts.filter((mount) => mount.name === 'shard') ?? [];
    expect(Object.fromEntries(shard.map(({ mountPath, subPath }) => [mountPath, subPath]))).toEqual({
      '/cell/in': `cells/${name}/in`,
      '/cell/out': `cells/${name}/out`,
      '/workspace': `cells/${name}/workspace`,
      '/agent': `agents/${session.spec?.['agentGroupUid'] as string}/home`,
    });
    expect(shard.filter(({ readOnly }) => readOnly === true).map(({ mountPath }) => mountPath)).toEqual(['/cell/in']);
    const inside = (command: string) => kubectl('exec', name, '--', 'sh', '-c', `${command}; true`);
    expect(await inside('echo x 2>&1 > /cell/in/x')).toContain('Read-only file system');
    expect((await inside('ls /cell /workspace/.. ')).split('\n')).not.toContain('cells');
    expect(await inside('ls /cell/in')).toContain('inbound.db');

    // At most two objects for an awake session: the Session and its Pod.
    const owned = await list('pods,services,secrets,configmaps,persistentvolumeclaims', '-l', `dovecote.dev/session=${name}`);
    expect(owned.map(({ kind, metadata }) => `${String(kind)} ${metadata.name}`)).toEqual([`Pod ${name}`]);
    expect(pod?.metadata.namespace).toBe(NAMESPACE);
  },
);
