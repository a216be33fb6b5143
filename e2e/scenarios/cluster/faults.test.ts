/** A platform that fails, before the real path: gateway and delivery on the cluster, the emulator behind a mock that breaks calls. */
import { expect } from '@jest/globals';
import { FaultsMock } from '../../emulators/faults-mock.ts';
import { fact } from '../../harness/cluster.ts';
import { clusterVerifies, type Scenario } from '../../harness/cluster-scenario.ts';

const POST = /chat\.postMessage/;

async function faultyChat(scenario: Scenario) {
  const agent = scenario.name('agent');
  await scenario.agent({}, agent);
  let faults: FaultsMock | undefined;
  const chat = await scenario.slackChat(agent, {
    apiUrl: async (slack) => {
      faults = await FaultsMock.start(fact('HOST_IP'), slack.apiUrl);
      scenario.later(async () => faults?.close());
      return faults.url;
    },
  });
  if (faults === undefined) throw new Error('the mock was not asked for');
  return { ...chat, faults };
}

clusterVerifies('out/retry-after', 'a 429 of the platform is obeyed: the answer comes once, and not before it may', async (scenario) => {
  const { slack, faults } = await faultyChat(scenario);
  faults.next(POST, { answer: 429, headers: { 'retry-after': '3' }, body: '{"ok":false,"error":"ratelimited"}' });
  const ts = await slack.say('hello');
  await slack.answer(ts, 'You said: hello');
  const [refused, taken, ...more] = faults.calls(POST);
  expect(more).toEqual([]);
  expect((taken?.at ?? 0) - (refused?.at ?? 0)).toBeGreaterThanOrEqual(3_000);
  expect(await slack.replies(ts)).toHaveLength(1);
});

clusterVerifies('out/in-doubt', 'an answer that was posted and whose confirmation was lost is found, not sent again', async (scenario) => {
  const { slack, faults } = await faultyChat(scenario);
  faults.next(POST, 'lose-answer');
  const ts = await slack.say('say it stays single');
  await slack.answer(ts, 'it stays single');
  await slack.say('say the next', ts); // behind it in the lane: delivered only when the first is settled
  await slack.answer(ts, 'the next');
  expect((await slack.replies(ts)).map(({ text }) => text)).toEqual(['it stays single', 'the next']);
});

clusterVerifies('out/order', 'a platform that cannot be reached for a while loses nothing and keeps the order', async (scenario) => {
  const { slack, faults } = await faultyChat(scenario);
  faults.next(POST, 'lose-request');
  faults.next(POST, { answer: 503 });
  const ts = await slack.say('say one');
  await slack.say('say two', ts);
  await slack.say('say three', ts);
  await slack.answer(ts, 'three');
  const said = (await slack.replies(ts)).flatMap(({ text }) => text.split('\n')).filter((line) => line !== '');
  expect(said).toEqual(['one', 'two', 'three']);
});
