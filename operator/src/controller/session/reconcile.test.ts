import { type AgentGroup, ConditionType } from '@dovecote/crds';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ForbiddenError } from '../../kube/errors.ts';
import { agentGroups, pods, sessions } from '../../kube/resource-types.ts';
import { TestBench, told } from '../testing/test-bench.ts';

let bench: TestBench;
let agent: AgentGroup;

beforeEach(async () => {
  bench = new TestBench();
  agent = await bench.agentGroup('helper');
  await bench.start();
});
afterEach(() => bench.close());

describe('waking', () => {
  test('costs a Pod and one status write', async () => {
    const name = await bench.session(agent);
    await bench.advance();
    expect(told(await bench.look(name))).toBe('Ready=True/Asleep Active=False/Asleep');
    await bench.advance(11_000);
    bench.counting.takeWrites();

    await bench.awake(name, true);
    expect(await bench.pod(name)).toBeDefined();
    await bench.kubelet(name, { phase: 'Pending', state: { waiting: { reason: 'ContainerCreating' } } });
    await bench.advance(800);
    await bench.runs(name);
    expect(bench.counting.takeWrites()).toEqual(['create Pod', 'applyStatus Session']);
    const session = await bench.look(name);
    const pod = await bench.mustPod(name);
    expect(told(session)).toBe('Ready=True/Awake Active=True/Awake');
    expect(session.status).toMatchObject({
      phase: 'Awake',
      podName: name,
      podUid: pod.metadata.uid,
      observedGeneration: session.metadata.generation,
    });
    expect(session.status).not.toHaveProperty('lastExit');
    expect(await bench.events()).toEqual([]);
  });

  test('says Waking only when the Pod does not run within 2 s, and Ready stays as it was', async () => {
    const name = await bench.session(agent);
    await bench.advance();
    await bench.awake(name, true);
    await bench.advance(1_900);
    expect(told(await bench.look(name))).toBe('Ready=True/Asleep Active=False/Asleep');
    await bench.advance(1_100);
    expect(told(await bench.look(name))).toBe('Ready=True/Asleep Active=Unknown/Waking');
    expect((await bench.look(name)).status?.phase).toBe('Waking');
    await bench.runs(name);
    expect(told(await bench.look(name))).toBe('Ready=True/Awake Active=True/Awake');
  });

  test('waits for an agent whose credentials are missing, and goes on when they come', async () => {
    const careful = await bench.agentGroup('careful', {
      provider: { type: 'anthropic', anthropic: { credentialsRef: { name: 'anthropic' } } },
    });
    const name = await bench.session(careful, { awake: true });
    await bench.advance(20_000);
    expect(await bench.pod(name)).toBeUndefined();
    const session = await bench.look(name);
    expect(told(session)).toBe('Ready=False/CredentialsMissing Active=False/CredentialsMissing');
    expect(session.status?.conditions?.[0]?.message).toContain('Secret anthropic does not exist');
    await bench.secret('anthropic', { 'api-key': 'sk-1' });
    await bench.advance(10_000);
    expect(await bench.pod(name)).toBeDefined();
  });

  test('refuses a runtime class that has its own kernel', async () => {
    const boxed = await bench.agentGroup('boxed', { provider: { type: 'demo' }, runtimeClassName: 'kata-qemu' });
    const name = await bench.session(boxed, { awake: true });
    await bench.advance();
    expect(await bench.pod(name)).toBeUndefined();
    expect(told(await bench.look(name))).toBe('Ready=False/RuntimeRefused Active=False/RuntimeRefused');
    await bench.agentGroup('boxed');
    await bench.advance();
    expect(await bench.pod(name)).toBeDefined();
  });

  test('waits for its AgentGroup', async () => {
    const name = await bench.session(agent);
    await bench.store.patch(sessions, name, { metadata: { ownerReferences: null } }, { fieldManager: 'test' });
    await bench.store.delete(agentGroups, 'helper');
    await bench.awake(name, true);
    expect(told(await bench.look(name))).toBe('Ready=False/ReferenceMissing Active=False/ReferenceMissing');
    // One of the same name is another agent: the conversation was not with it.
    await bench.agentGroup('helper');
    await bench.advance(10_000);
    expect(await bench.pod(name)).toBeUndefined();
    expect((await bench.look(name)).status?.conditions?.[0]?.message).toContain('was made anew');
  });

  test('says what the cluster has against its Pod, and asks again', async () => {
    bench.counting.failures.push({ what: 'create Pod', error: new ForbiddenError('exceeded quota: pods=10') });
    const name = await bench.session(agent, { awake: true });
    await bench.advance();
    expect(told(await bench.look(name))).toBe('Ready=False/PodFailed Active=False/PodFailed');
    expect((await bench.look(name)).status?.conditions?.[0]?.message).toContain('exceeded quota: pods=10');
    await bench.advance(30_000);
    expect(await bench.pod(name)).toBeDefined();
  });

  test('is tried again when the API server does not answer', async () => {
    bench.counting.failures.push({ what: 'create Pod', error: new Error('connection reset') });
    const name = await bench.session(agent, { awake: true });
    await bench.advance(1_000);
    expect(await bench.pod(name)).toBeDefined();
  });

  test('starts nothing on a cell that is missing', async () => {
    const name = await bench.session(agent);
    const storage = JSON.stringify({ reason: 'CellMissing', message: 'The cell is not on the volume. Restore it from a snapshot.' });
    await bench.store.patch(
      sessions,
      name,
      { metadata: { annotations: { 'dovecote.dev/storage': storage } } },
      { fieldManager: 'dovecote-delivery' },
    );
    await bench.advance();
    expect(told(await bench.look(name))).toBe('Ready=False/CellMissing Active=False/Asleep StorageOk=False/CellMissing');
    await bench.awake(name, true);
    expect(await bench.pod(name)).toBeUndefined();
    expect(told(await bench.look(name))).toBe('Ready=False/CellMissing Active=False/CellMissing StorageOk=False/CellMissing');
  });
});

describe('sleeping', () => {
  test('costs a deletion and one status write, which comes only when the Pod is gone', async () => {
    const name = await bench.awakeSession(agent);
    await bench.awake(name, false);
    expect((await bench.mustPod(name)).metadata.deletionTimestamp).toBeDefined();
    await bench.advance(1_500);
    expect((await bench.look(name)).status?.phase).toBe('Awake');
    await bench.podGone(name);
    expect(bench.counting.takeWrites()).toEqual(['delete Pod', 'applyStatus Session']);
    const session = await bench.look(name);
    expect(told(session)).toBe('Ready=True/Asleep Active=False/Asleep');
    expect(session.status).toMatchObject({ phase: 'Asleep', observedGeneration: session.metadata.generation });
    expect(session.status).not.toHaveProperty('podUid');
    await bench.advance(60_000);
    expect(bench.counting.takeWrites()).toEqual(['applyStatus AgentGroup']);
    expect(await bench.events()).toEqual([]);
  });

  test('says Draining when the Pod takes its time', async () => {
    const name = await bench.awakeSession(agent);
    await bench.awake(name, false);
    await bench.advance(6_000);
    expect(told(await bench.look(name))).toBe('Ready=True/Awake Active=Unknown/Draining');
    await bench.podGone(name);
    expect(told(await bench.look(name))).toBe('Ready=True/Asleep Active=False/Asleep');
  });

  test('a message that comes meanwhile wakes it with the next Pod, never a second one', async () => {
    const name = await bench.awakeSession(agent);
    const first = await bench.mustPod(name);
    await bench.awake(name, false);
    await bench.awake(name, true);
    await bench.advance(5_000);
    expect((await bench.mustPod(name)).metadata.uid).toBe(first.metadata.uid);
    expect(told(await bench.look(name))).toBe('Ready=True/Awake Active=Unknown/Waking');
    await bench.podGone(name);
    const second = await bench.mustPod(name);
    expect(second.metadata.uid).not.toBe(first.metadata.uid);
    await bench.runs(name);
    expect((await bench.look(name)).status).toMatchObject({ phase: 'Awake', podUid: second.metadata.uid });
  });

  test('does not believe a cache that no longer shows the Pod', async () => {
    const name = await bench.awakeSession(agent);
    // Whoever takes our label off a Pod takes it out of our sight, not out of the world.
    await bench.store.patch(pods, name, { metadata: { labels: { 'app.kubernetes.io/managed-by': null } } }, { fieldManager: 'kubectl' });
    await bench.awake(name, false);
    await bench.advance(100);
    expect((await bench.look(name)).status?.phase).not.toBe('Asleep');
    expect((await bench.mustPod(name)).metadata.deletionTimestamp).toBeDefined();
    await bench.podGone(name);
    await bench.advance(10_000);
    expect((await bench.look(name)).status?.phase).toBe('Asleep');
  });

  test('spec.suspended puts it to sleep and keeps it there', async () => {
    const name = await bench.awakeSession(agent);
    await bench.store.patch(sessions, name, { spec: { suspended: true } }, { fieldManager: 'kubectl' });
    await bench.advance();
    await bench.podGone(name);
    expect(told(await bench.look(name))).toBe('Ready=True/Suspended Active=False/Suspended');
    expect((await bench.look(name)).status?.phase).toBe('Suspended');
    await bench.store.patch(sessions, name, { spec: { suspended: false } }, { fieldManager: 'kubectl' });
    await bench.advance();
    expect(await bench.pod(name)).toBeDefined();
  });
});

describe('a controller that takes over', () => {
  test('adopts the Pod that runs and writes nothing', async () => {
    const name = await bench.awakeSession(agent);
    const first = await bench.mustPod(name);
    await bench.restart();
    await bench.advance(60_000);
    expect((await bench.mustPod(name)).metadata.uid).toBe(first.metadata.uid);
    expect(bench.counting.takeWrites()).toEqual([]);
  });

  test('finishes what the one before it began', async () => {
    const name = await bench.awakeSession(agent);
    await bench.stop();
    await bench.awake(name, false);
    await bench.store.delete(pods, name, { gracePeriodSeconds: 0 });
    await bench.start();
    expect(told(await bench.look(name))).toBe('Ready=True/Asleep Active=False/Asleep');
  });

  test('keeps a running Pod whose template is of an older image, and the next wake has the new one', async () => {
    const name = await bench.awakeSession(agent);
    const first = await bench.mustPod(name);
    await bench.agentGroup('helper', { provider: { type: 'demo' }, image: 'localhost/dovecote-runner:2' });
    await bench.advance(60_000);
    expect((await bench.mustPod(name)).metadata.uid).toBe(first.metadata.uid);
    await bench.awake(name, false);
    await bench.podGone(name);
    await bench.awake(name, true);
    expect((await bench.mustPod(name)).spec?.containers[0]?.image).toBe('localhost/dovecote-runner:2');
  });
});

describe('deletion', () => {
  test('of an AgentGroup takes its sessions and their Pods with it', async () => {
    const name = await bench.awakeSession(agent);
    await bench.store.delete(agentGroups, 'helper');
    await bench.advance();
    expect(await bench.store.get(sessions, name)).toBeUndefined();
    expect((await bench.mustPod(name)).metadata.deletionTimestamp).toBeDefined();
    await bench.podGone(name);
    await bench.advance(60_000);
    expect(await bench.pod(name)).toBeUndefined();
  });

  test('of a Session that a finalizer holds ends its Pod', async () => {
    const name = await bench.awakeSession(agent);
    await bench.store.patch(sessions, name, { metadata: { finalizers: ['dovecote.dev/archive'] } }, { fieldManager: 'dovecote-delivery' });
    await bench.store.delete(sessions, name);
    await bench.advance();
    expect((await bench.mustPod(name)).metadata.deletionTimestamp).toBeDefined();
    await bench.podGone(name);
    await bench.advance(30_000);
    expect(await bench.pod(name)).toBeUndefined();
  });
});

describe('what delivery says of the cell', () => {
  test('becomes StorageOk, and fails Ready while it is not', async () => {
    const name = await bench.awakeSession(agent);
    const annotate = async (reason: string, message: string) => {
      const value = JSON.stringify({ reason, message });
      await bench.store.patch(
        sessions,
        name,
        { metadata: { annotations: { 'dovecote.dev/storage': value } } },
        { fieldManager: 'dovecote-delivery' },
      );
      await bench.advance();
    };
    await annotate('QuotaExceeded', 'It stores 1.2 GiB and may store 1 GiB.');
    expect(told(await bench.look(name))).toBe('Ready=False/QuotaExceeded Active=True/Awake StorageOk=False/QuotaExceeded');
    await annotate('Writable', '');
    expect(told(await bench.look(name))).toBe('Ready=True/Awake Active=True/Awake StorageOk=True/Writable');
    const { conditions } = (await bench.look(name)).status ?? {};
    expect(conditions?.find(({ type }) => type === ConditionType.StorageOk)?.message).toBe('');
  });
});
