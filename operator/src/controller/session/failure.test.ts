import type { AgentGroup } from '@dovecote/crds';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pods, sessions } from '../../kube/resource-types.ts';
import { TestBench, told } from '../testing/test-bench.ts';

let bench: TestBench;
let agent: AgentGroup;

beforeEach(async () => {
  bench = new TestBench();
  agent = await bench.agentGroup('helper');
  await bench.start();
});
afterEach(() => bench.close());

describe('a Pod that fails', () => {
  const oom = () => ({ terminated: { exitCode: 137, reason: 'OOMKilled', startedAt: bench.time(-60_000), finishedAt: bench.time() } });

  test('for lack of memory is shown, and is well again once it has run for a while', async () => {
    const name = await bench.awakeSession(agent);
    await bench.kubelet(name, { state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: oom(), restartCount: 1 });
    const session = await bench.look(name);
    expect(told(session)).toBe('Ready=False/OOMKilled Active=False/OOMKilled');
    expect(session.status).toMatchObject({ phase: 'Failed', restarts: 1, lastExit: { reason: 'OOMKilled', exitCode: 137 } });
    expect(session.status?.lastExit?.message).toContain('its limit of 1Gi');

    await bench.runs(name, { lastState: oom(), restartCount: 2 });
    expect(told(await bench.look(name))).toBe('Ready=False/OOMKilled Active=True/Awake');
    await bench.advance(10_000);
    expect(told(await bench.look(name))).toBe('Ready=True/Awake Active=True/Awake');
    expect((await bench.look(name)).status?.lastExit?.reason).toBe('OOMKilled');
    expect(await bench.events()).toMatchObject([
      { type: 'Warning', reason: 'OOMKilled' },
      { type: 'Normal', reason: 'Awake' },
    ]);
  });

  test('once, and is restarted in place at once, stays Ready', async () => {
    const name = await bench.awakeSession(agent);
    const crash = {
      terminated: {
        exitCode: 1,
        reason: 'Error',
        message: 'stack\nTypeError: x',
        startedAt: bench.time(-60_000),
        finishedAt: bench.time(),
      },
    };
    await bench.kubelet(name, { state: crash });
    await bench.runs(name, { lastState: crash, restartCount: 1 });
    const session = await bench.look(name);
    expect(told(session)).toBe('Ready=True/Awake Active=True/Awake');
    expect(session.status).toMatchObject({
      restarts: 1,
      lastExit: { reason: 'Crashed', exitCode: 1, message: 'The runner crashed with exit code 1: TypeError: x' },
    });
    expect(bench.counting.takeWrites()).toEqual(['applyStatus Session']);
    expect(await bench.events()).toEqual([]);
  });

  test('again and again does not flap, and one Event tells of it', async () => {
    const name = await bench.awakeSession(agent);
    for (let restartCount = 1; restartCount <= 3; restartCount += 1) {
      const lastState = { terminated: { exitCode: 1, reason: 'Error', startedAt: bench.time(-2_000), finishedAt: bench.time() } };
      await bench.kubelet(name, { state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState, restartCount });
      expect(told(await bench.look(name))).toBe('Ready=False/CrashLooping Active=False/CrashLooping');
      await bench.advance(1_000);
      await bench.runs(name, { lastState, restartCount: restartCount + 1 });
      expect(told(await bench.look(name))).toContain('Ready=False/CrashLooping');
      await bench.advance(2_000);
    }
    expect(await bench.events()).toMatchObject([{ type: 'Warning', reason: 'CrashLooping' }]);
  });

  test('with exit code 75 is said to be DiskFull', async () => {
    const name = await bench.awakeSession(agent);
    const lastState = { terminated: { exitCode: 75, reason: 'Error', message: 'why', startedAt: bench.time(), finishedAt: bench.time() } };
    await bench.kubelet(name, { state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState, restartCount: 1 });
    const session = await bench.look(name);
    expect(told(session)).toBe('Ready=False/DiskFull Active=False/DiskFull');
    expect(session.status?.lastExit).toMatchObject({ reason: 'DiskFull', exitCode: 75, message: expect.stringMatching(/: why$/) });
  });

  describe('because it refuses to', () => {
    const refuses = async (name: string): Promise<void> => {
      const terminated = { exitCode: 78, reason: 'Error', message: 'why', startedAt: bench.time(), finishedAt: bench.time() };
      await bench.kubelet(name, { state: { terminated }, restartCount: 0 });
      expect((await bench.mustPod(name)).metadata.deletionTimestamp).toBeDefined();
      await bench.podGone(name);
    };

    test('loses its Pod, says why and what to do, and is tried again when that is due, over a restart of the controller too', async () => {
      const name = await bench.awakeSession(agent);
      await refuses(name);
      const session = await bench.look(name);
      expect(told(session)).toBe('Ready=False/RunnerRefused Active=False/RunnerRefused');
      expect(session.status).toMatchObject({
        lastExit: { reason: 'RunnerRefused', exitCode: 78, message: expect.stringMatching(/: why$/) },
        refused: { tries: 1, retryAt: bench.time(300_000) },
      });
      expect(await bench.pod(name)).toBeUndefined();
      bench.counting.takeWrites();
      const closing = bench.controller?.close();
      await bench.advance(30_000);
      await closing;
      await bench.start();
      await bench.advance(250_000);
      expect(bench.counting.takeWrites()).toEqual([]);
      await bench.advance(11_000);
      expect(await bench.pod(name)).toBeDefined();
      await refuses(name);
      expect((await bench.look(name)).status?.refused).toMatchObject({ tries: 2 });
      expect(await bench.events()).toMatchObject([{ type: 'Warning', reason: 'RunnerRefused' }]);
    });

    test('is tried at once with another image, and forgets it when that runs', async () => {
      const name = await bench.awakeSession(agent);
      await refuses(name);
      expect(await bench.pod(name)).toBeUndefined();
      await bench.agentGroup('helper', { provider: { type: 'demo' }, instructions: 'No other Pod than before.' });
      await bench.advance();
      expect(await bench.pod(name)).toBeUndefined();
      await bench.agentGroup('helper', { provider: { type: 'demo' }, image: 'localhost/another' });
      await bench.advance();
      expect(await bench.pod(name)).toBeDefined();
      await bench.runs(name);
      expect(told(await bench.look(name))).toContain('Ready=False/RunnerRefused');
      await bench.advance(11_000);
      expect(told(await bench.look(name))).toBe('Ready=True/Awake Active=True/Awake');
      expect((await bench.look(name)).status).not.toHaveProperty('refused');
    });

    test('is tried at once when it was suspended and is no more', async () => {
      const name = await bench.awakeSession(agent);
      await refuses(name);
      await bench.store.patch(sessions, name, { spec: { suspended: true } }, { fieldManager: 'test' });
      await bench.advance();
      expect((await bench.look(name)).status).not.toHaveProperty('refused');
      await bench.store.patch(sessions, name, { spec: { suspended: false } }, { fieldManager: 'test' });
      await bench.advance();
      expect(await bench.pod(name)).toBeDefined();
    });
  });

  test('because its image cannot be had says so', async () => {
    const name = await bench.session(agent, { awake: true });
    await bench.advance();
    await bench.kubelet(name, { phase: 'Pending', state: { waiting: { reason: 'ErrImagePull', message: 'not found' } } });
    const session = await bench.look(name);
    expect(told(session)).toBe('Ready=False/ImagePull Active=False/ImagePull');
    bench.counting.takeWrites();
    await bench.kubelet(name, { phase: 'Pending', state: { waiting: { reason: 'ImagePullBackOff', message: 'Back-off pulling image' } } });
    await bench.kubelet(name, { phase: 'Pending', state: { waiting: { reason: 'ErrImagePull', message: 'not found' } } });
    expect(bench.counting.takeWrites()).toEqual([]);
    expect((await bench.look(name)).status?.conditions?.[0]?.message).toContain('not found');
  });

  test('is made anew as soon as its AgentGroup is corrected', async () => {
    await bench.agentGroup('helper', { provider: { type: 'demo' }, image: 'localhost/no-such-runner' });
    const name = await bench.session(agent, { awake: true });
    await bench.advance();
    await bench.kubelet(name, { phase: 'Pending', state: { waiting: { reason: 'ErrImagePull', message: 'not found' } } });
    const first = await bench.mustPod(name);
    await bench.agentGroup('helper', { provider: { type: 'demo' }, image: 'localhost/runner' });
    await bench.advance();
    await bench.podGone(name);
    const second = await bench.mustPod(name);
    expect(second.metadata.uid).not.toBe(first.metadata.uid);
    expect(second.spec?.containers[0]?.image).toBe('localhost/runner');
    await bench.runs(name);
    await bench.advance(10_000);
    expect(told(await bench.look(name))).toBe('Ready=True/Awake Active=True/Awake');
  });

  test('to find a node says so, after the scheduler had time', async () => {
    const name = await bench.session(agent, { awake: true });
    await bench.advance();
    const conditions = [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/3 nodes are available' }];
    await bench.kubelet(name, { phase: 'Pending', conditions });
    expect((await bench.look(name)).status).toBeUndefined();
    await bench.advance(3_000);
    expect(told(await bench.look(name))).toBe('Ready=False/Unschedulable Active=False/Unschedulable');
    expect((await bench.look(name)).status?.conditions?.[0]?.message).toContain('0/3 nodes are available');
  });

  test('because its node evicts it is replaced, later each time', async () => {
    const name = await bench.awakeSession(agent);
    const evict = () => bench.kubelet(name, { phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory.' });
    const first = await bench.mustPod(name);
    await evict();
    const second = await bench.mustPod(name);
    expect(second.metadata.uid).not.toBe(first.metadata.uid);
    expect(told(await bench.look(name))).toBe('Ready=False/Evicted Active=False/Evicted');
    expect((await bench.look(name)).status?.lastExit).toMatchObject({
      reason: 'Evicted',
      message: expect.stringContaining('low on resource'),
    });

    await evict();
    await bench.advance(500);
    expect((await bench.mustPod(name)).metadata.uid).toBe(second.metadata.uid);
    await bench.advance(1_500);
    const third = await bench.mustPod(name);
    expect(third.metadata.uid).not.toBe(second.metadata.uid);
    await bench.runs(name);
    await bench.advance(10_000);
    expect(told(await bench.look(name))).toBe('Ready=True/Awake Active=True/Awake');
    expect((await bench.look(name)).status).toMatchObject({ restarts: 2, lastExit: { reason: 'Evicted' } });
  });

  test('by finishing while it should be awake is replaced', async () => {
    const name = await bench.awakeSession(agent);
    const first = await bench.mustPod(name);
    const terminated = { exitCode: 0, reason: 'Completed', startedAt: bench.time(-60_000), finishedAt: bench.time() };
    await bench.kubelet(name, { phase: 'Succeeded', state: { terminated } });
    await bench.advance(2_000);
    const second = await bench.mustPod(name);
    expect(second.metadata.uid).not.toBe(first.metadata.uid);
    await bench.runs(name);
    const session = await bench.look(name);
    expect(told(session)).toBe('Ready=True/Awake Active=True/Awake');
    expect(session.status).toMatchObject({ restarts: 1, podUid: second.metadata.uid });
    expect(session.status).not.toHaveProperty('lastExit');
  });

  test('by finishing because delivery drained it costs nothing more than any sleep', async () => {
    const name = await bench.awakeSession(agent);
    const terminated = { exitCode: 0, reason: 'Completed', startedAt: bench.time(-60_000), finishedAt: bench.time() };
    await bench.kubelet(name, { phase: 'Succeeded', state: { terminated } });
    await bench.advance(500);
    await bench.awake(name, false);
    expect(await bench.pod(name)).toBeUndefined();
    expect(told(await bench.look(name))).toBe('Ready=True/Asleep Active=False/Asleep');
    expect(bench.counting.takeWrites()).toEqual(['delete Pod', 'applyStatus Session']);
  });

  test('by being deleted is made again when it is gone', async () => {
    const name = await bench.awakeSession(agent);
    const first = await bench.mustPod(name);
    await bench.store.delete(pods, name);
    await bench.advance(1_000);
    expect((await bench.mustPod(name)).metadata.uid).toBe(first.metadata.uid);
    await bench.podGone(name);
    expect((await bench.mustPod(name)).metadata.uid).not.toBe(first.metadata.uid);
  });
});

describe('a node that does not answer', () => {
  test('never leads to a second Pod, and the condition says what to do', async () => {
    const name = await bench.awakeSession(agent);
    const first = await bench.mustPod(name);
    await bench.kubelet(name, {
      state: { running: { startedAt: bench.time() } },
      conditions: [
        { type: 'Ready', status: 'False' },
        { type: 'ContainersReady', status: 'True' },
      ],
    });
    expect(told(await bench.look(name))).toBe('Ready=False/NodeLost Active=Unknown/NodeLost');
    // The cluster gives up on the Pod; the kubelet that would have to end it still says nothing.
    await bench.store.delete(pods, name);
    await bench.advance(200_000);
    expect((await bench.mustPod(name)).metadata.uid).toBe(first.metadata.uid);
    const session = await bench.look(name);
    expect(told(session)).toBe('Ready=False/NodeLost Active=Unknown/NodeLost');
    expect(session.status?.conditions?.[0]?.message).toContain('delete the Node object');
    await bench.podGone(name);
    expect((await bench.mustPod(name)).metadata.uid).not.toBe(first.metadata.uid);
  });

  test('keeps a session from being called asleep', async () => {
    const name = await bench.awakeSession(agent);
    await bench.awake(name, false);
    await bench.advance(100_000);
    expect((await bench.look(name)).status?.phase).toBe('Failed');
    expect(told(await bench.look(name))).toBe('Ready=False/NodeLost Active=Unknown/NodeLost');
    await bench.podGone(name);
    expect(told(await bench.look(name))).toBe('Ready=True/Asleep Active=False/Asleep');
  });
});

describe('a shard that moves', () => {
  test('takes its sessions with it: their Pods end where they are and are made again beside delivery', async () => {
    const name = await bench.awakeSession(agent);
    const first = await bench.mustPod(name);
    await bench.store.patch(pods, name, { spec: { nodeName: 'node-1' } }, { fieldManager: 'scheduler' });
    const delivery = async (podName: string, nodeName: string) => {
      const labels = { 'app.kubernetes.io/component': 'delivery', 'dovecote.dev/shard': '0' };
      await bench.store.create(
        pods,
        { metadata: { name: podName, labels }, spec: { nodeName, containers: [{ name: 'd' }] } },
        { fieldManager: 'x' },
      );
      await bench.advance();
    };
    await delivery('delivery-0', 'node-1');
    await bench.advance(60_000);
    expect((await bench.mustPod(name)).metadata.deletionTimestamp).toBeUndefined();
    await bench.podGone('delivery-0');
    expect((await bench.mustPod(name)).metadata.deletionTimestamp).toBeUndefined();
    await delivery('delivery-0', 'node-2');
    expect((await bench.mustPod(name)).metadata.deletionTimestamp).toBeDefined();
    await bench.podGone(name);
    expect((await bench.mustPod(name)).metadata.uid).not.toBe(first.metadata.uid);
    expect(await bench.events()).toEqual([]);
  });
});

describe('a name that is taken', () => {
  test('by the Pod of a Session that was deleted and made again: it must be gone first', async () => {
    const name = await bench.awakeSession(agent);
    const first = await bench.mustPod(name);
    await bench.store.patch(pods, name, { metadata: { finalizers: ['test/hold'] } }, { fieldManager: 'test' });
    await bench.store.delete(sessions, name);
    await bench.advance();
    await bench.session(agent, { awake: true });
    await bench.advance(5_000);
    expect((await bench.mustPod(name)).metadata.uid).toBe(first.metadata.uid);
    await bench.store.patch(pods, name, { metadata: { finalizers: null } }, { fieldManager: 'test' });
    await bench.podGone(name);
    await bench.advance(11_000);
    expect((await bench.mustPod(name)).metadata.uid).not.toBe(first.metadata.uid);
  });

  test('by a stranger: it is left alone and named', async () => {
    const name = await bench.session(agent);
    await bench.store.create(pods, { metadata: { name }, spec: { containers: [{ name: 'x', image: 'y' }] } }, { fieldManager: 'kubectl' });
    await bench.awake(name, true);
    expect(told(await bench.look(name))).toBe('Ready=False/PodFailed Active=False/PodFailed');
    await bench.store.delete(pods, name, { gracePeriodSeconds: 0 });
    await bench.advance(10_000);
    expect((await bench.mustPod(name)).metadata.ownerReferences?.[0]?.kind).toBe('Session');
  });
});
