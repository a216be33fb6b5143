/** What kubectl, kstatus and Argo CD read. */
import { expect } from '@jest/globals';
import { conditionOf, conditionsOf, get, type KubeObject, kubectl, untilObject } from '../../harness/cluster.ts';
import { clusterVerifies, sessionOf, untilAsleep } from '../../harness/cluster-scenario.ts';

/** The rules of kstatus for a kind that it does not know (sigs.k8s.io/cli-utils/pkg/kstatus). */
function kstatus(object: KubeObject | undefined): 'Current' | 'InProgress' | 'Failed' | 'Terminating' | 'NotFound' {
  if (object === undefined) return 'NotFound';
  if (object.metadata.deletionTimestamp !== undefined) return 'Terminating';
  const observed = object.status?.['observedGeneration'];
  if (observed !== undefined && observed !== object.metadata.generation) return 'InProgress';
  if (conditionOf(object, 'Stalled')?.status === 'True') return 'Failed';
  if (conditionOf(object, 'Reconciling')?.status === 'True') return 'InProgress';
  const ready = conditionOf(object, 'Ready');
  return ready === undefined || ready.status === 'True' ? 'Current' : 'InProgress';
}

clusterVerifies(
  'kube/status',
  'every kind tells its state in conditions of its present generation, and a session asleep is healthy',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({ idleTimeout: '2s' }, agent);
    const { slack, channel } = await scenario.slackChat(agent);
    const ts = await slack.say('hello');
    await slack.answer(ts, 'You said: hello');
    const { name } = (await sessionOf(agent)).metadata;
    const asleep = await untilAsleep(name);
    expect(conditionOf(asleep, 'Ready')).toMatchObject({ status: 'True', reason: 'Asleep' });
    expect(conditionOf(asleep, 'Active')).toMatchObject({ status: 'False', reason: 'Asleep' });
    expect(asleep.status?.['restarts']).toBeUndefined();

    await scenario.make({
      apiVersion: 'dovecote.dev/v1alpha1',
      kind: 'Destination',
      metadata: { name: agent },
      spec: { agentGroupRef: agent, localName: 'home', target: { type: 'channel', channel: { channelRef: channel, chatId: slack.chat } } },
    });
    for (const [kind, of] of [
      ['agentgroup', agent],
      ['channel', channel],
      ['messaginggroup', channel],
      ['destination', agent],
      ['session', name],
    ] as const) {
      const object = await untilObject(
        kind,
        of,
        'is Current for kstatus',
        (seen) => seen.status?.['observedGeneration'] === seen.metadata.generation && kstatus(seen) === 'Current',
      );
      expect(conditionsOf(object).length).toBeGreaterThan(0);
      for (const condition of conditionsOf(object)) {
        expect(condition).toMatchObject({ reason: expect.stringMatching(/^[A-Z][A-Za-z]+$/), message: expect.any(String) });
        expect(condition.message).not.toBe('');
      }
    }
    // A change is seen: no condition speaks of what was.
    await kubectl('patch', 'agentgroup', agent, '--type=merge', '-p', '{"spec":{"effort":"low"}}');
    const changed = await untilObject(
      'agentgroup',
      agent,
      'has observed the change',
      (seen) => seen.metadata.generation === 2 && seen.status?.['observedGeneration'] === 2,
    );
    for (const condition of conditionsOf(changed)) expect(condition.observedGeneration).toBe(2);
    expect(await kubectl('wait', '--for=condition=Ready', `session/${name}`, '--timeout=1s')).toContain('condition met');
    expect(kstatus(await get('session', name))).toBe('Current');
  },
);
