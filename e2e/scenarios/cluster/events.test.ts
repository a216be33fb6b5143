/** Events are for what people must know: failing and being well again. */
import { expect } from '@jest/globals';
import { list, untilCondition } from '../../harness/cluster.ts';
import { agentGroup, clusterVerifies, messagingGroup, sessionOf, untilAsleep } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

async function eventsOf(name: string): Promise<readonly { type: string; reason: string; note: string }[]> {
  const events = (await list('events.events.k8s.io')) as unknown as {
    type: string;
    reason: string;
    note: string;
    regarding?: { name?: string };
    reportingController?: string;
  }[];
  return events.filter(
    ({ regarding, reportingController }) => regarding?.name === name && (reportingController ?? '').startsWith('dovecote'),
  );
}

clusterVerifies('kube/events', 'waking and sleeping make no Event, failing makes one, and healing another', async (scenario) => {
  const agent = scenario.name('agent');
  const lonely = scenario.name('lonely');
  await scenario.make(messagingGroup(lonely, scenario.name('nowhere'), 'C1', agent, 'Shared'));
  await untilCondition('messaginggroup', lonely, 'Ready', 'False');
  await scenario.agent({ idleTimeout: '2s' }, agent);
  const { slack } = await scenario.slackChat(agent);
  const ts = await slack.say('hello');
  await slack.answer(ts, 'You said: hello');
  const { name } = (await sessionOf(agent)).metadata;
  await untilAsleep(name);
  await slack.say('once more', ts);
  await slack.answer(ts, 'You said: once more');
  await untilAsleep(name);

  await until('the failure is told', async () => (await eventsOf(lonely)).length > 0);
  expect(await eventsOf(lonely)).toMatchObject([{ type: 'Warning', reason: 'ReferenceMissing' }]);
  expect(await eventsOf(name)).toEqual([]);
  expect((await eventsOf(agent)).filter(({ type }) => type === 'Warning')).toEqual([]);
  await scenario.make({ ...agentGroup(scenario.name('other')) });
  const channel = {
    apiVersion: 'dovecote.dev/v1alpha1',
    kind: 'Channel',
    metadata: { name: scenario.name('nowhere') },
    spec: { type: 'local' },
  };
  await scenario.make(channel);
  await until('the healing is told', async () => (await eventsOf(lonely)).some(({ type }) => type === 'Normal'));
  expect(await eventsOf(lonely)).toHaveLength(2);
});
