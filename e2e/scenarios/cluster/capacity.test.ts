/** No place for everyone. */
import { expect } from '@jest/globals';
import { conditionOf } from '../../harness/cluster.ts';
import { clusterVerifies, sessionsOf } from '../../harness/cluster-scenario.ts';

clusterVerifies('kube/capacity', 'a session that finds no place is told so, and is served when another has finished', async (scenario) => {
  const agent = scenario.name('agent');
  await scenario.agent({ limits: { maxAwake: 1 } }, agent);
  const { slack } = await scenario.slackChat(agent);
  const first = await slack.say('sleep 6s\nsay the first is done');
  const second = await slack.say('the second');
  await slack.answer(second, 'All places are taken', 20_000);
  expect(await slack.replies(first)).toEqual([]); // told while the first still works
  const awake = (await sessionsOf(agent)).filter((session) => conditionOf(session, 'Active')?.status === 'True');
  expect(awake.length).toBeLessThanOrEqual(1);
  await slack.answer(first, 'the first is done');
  // The first is idle now and would stay for ten minutes: it makes room.
  await slack.answer(second, 'You said: the second');
  expect((await slack.replies(second)).map(({ text }) => text.split('\n')[0])).toEqual([
    expect.stringContaining('All places are taken'),
    'You said: the second',
  ]);
});
