/** A session's Pod dies in the middle of a turn. */
import { expect, test } from '@jest/globals';
import { conditionOf, execute, get, kubectl, NAMESPACE, untilObject } from '../../harness/cluster.ts';
import { killOnNode, nodeReachable } from '../../harness/cluster-node.ts';
import { clusterVerifies, sessionOf, untilAwake } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

clusterVerifies(
  'kube/pod-killed',
  'a Pod that is deleted in mid-turn is made again, and the turn goes on to its one answer',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({}, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say(
      'tool exec {"command":"echo once >> steps.txt"}\nsleep 3s\ntool exec {"command":"cat steps.txt"}\nsay steps: {result}',
    );
    const { name } = (await sessionOf(agent)).metadata;
    await until(
      'the first step is done',
      async () => (await kubectl('exec', name, '--', 'cat', '/workspace/steps.txt').catch(() => '')) !== '',
    );
    const pod = (await get('pod', name))?.metadata.uid;
    await kubectl('delete', 'pod', name, '--force', '--grace-period=0');

    const { text } = await slack.answer(ts, 'steps:', 90_000);
    expect(text.match(/once/g)).toHaveLength(1); // the finished step was not done again
    expect(await slack.replies(ts)).toHaveLength(1);
    const next = (await get('pod', name))?.metadata.uid;
    expect(next).not.toBe(pod);
  },
);

clusterVerifies('kube/pod-killed', 'a Pod that is evicted in mid-turn leaves nothing undone and nothing done twice', async (scenario) => {
  const agent = scenario.name('agent');
  await scenario.agent({}, agent);
  const { slack } = await scenario.slackChat(agent);
  const ts = await slack.say('hello');
  await slack.answer(ts, 'You said: hello');
  const { name } = (await sessionOf(agent)).metadata;
  const pod = (await get('pod', name))?.metadata.uid;
  await slack.say('sleep 3s\nsay carried over', ts);
  const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: NAMESPACE } };
  const path = `/api/v1/namespaces/${NAMESPACE}/pods/${name}/eviction`;
  const evicted = await execute('kubectl', ['create', '--raw', path, '-f', '-'], JSON.stringify(eviction));
  expect(evicted.stderr).toBe('');
  await slack.answer(ts, 'carried over', 90_000);
  await untilObject('pod', name, 'is another one', ({ metadata }) => metadata.uid !== pod, 90_000);
  await slack.say('and now?', ts);
  await slack.answer(ts, 'You said: and now?', 90_000);
  expect((await slack.replies(ts)).filter(({ text }) => text.includes('carried over'))).toHaveLength(1);
});

if (!nodeReachable()) test.skip('a runner is killed where the node can be entered', () => {});
else {
  clusterVerifies(
    'kube/pod-killed',
    'a runner that is killed is started again in place, and the status says how it ended',
    async (scenario) => {
      const agent = scenario.name('agent');
      await scenario.agent({}, agent);
      const { slack } = await scenario.slackChat(agent);
      const ts = await slack.say('hello');
      await slack.answer(ts, 'You said: hello');
      const { name } = (await sessionOf(agent)).metadata;
      await untilAwake(name);
      await slack.say('sleep 3s\nsay survived', ts);
      await killOnNode(`/app/main.mjs --session ${name} `);
      await slack.answer(ts, 'survived', 90_000);
      const session = await untilObject('session', name, 'has a last exit', ({ status }) => status?.['lastExit'] !== undefined);
      expect(session.status).toMatchObject({ restarts: 1, lastExit: { reason: 'Killed', exitCode: 137 } });
      expect((await slack.replies(ts)).filter(({ text }) => text.includes('survived'))).toHaveLength(1);
      const healed = await untilObject('session', name, 'is Ready again', (object) => conditionOf(object, 'Ready')?.status === 'True');
      expect(conditionOf(healed, 'Active')).toMatchObject({ status: 'True' });
    },
  );
}

clusterVerifies('kube/pod-killed', 'a runner that exceeds its memory limit shows as OOMKilled', async (scenario) => {
  const agent = scenario.name('agent');
  // Less than a runner needs to start.
  await scenario.agent({ resources: { limits: { memory: '20Mi' }, requests: { memory: '16Mi' } } }, agent);
  const { slack } = await scenario.slackChat(agent);
  await slack.say('hello');
  const { name } = (await sessionOf(agent)).metadata;
  const session = await untilObject('session', name, 'says OOMKilled', (object) => conditionOf(object, 'Ready')?.reason === 'OOMKilled');
  expect(conditionOf(session, 'Ready')).toMatchObject({ status: 'False', message: expect.stringContaining('its limit of 20Mi') });
});
