/** A runtime class that has a kernel of its own. */
import { expect } from '@jest/globals';
import { conditionOf, get, kubectl, untilCondition } from '../../harness/cluster.ts';
import { clusterVerifies, sessionOf } from '../../harness/cluster-scenario.ts';

clusterVerifies(
  'kube/sandboxed-runtime',
  'a runtime class with its own kernel is refused with a condition, before any Pod',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({ runtimeClassName: 'gvisor' }, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('hello');
    const { name } = (await sessionOf(agent)).metadata;
    const session = await untilCondition('session', name, 'Ready', 'False', 'RuntimeRefused');
    expect(conditionOf(session, 'Ready')?.message).toContain('gvisor');
    expect(await get('pod', name)).toBeUndefined();
    expect((await slack.replies(ts)).filter(({ text }) => text.includes('You said'))).toEqual([]);
    // Another class, and the message that waited is answered.
    await kubectl('patch', 'agentgroup', agent, '--type=json', '-p', '[{"op":"remove","path":"/spec/runtimeClassName"}]');
    await slack.answer(ts, 'You said: hello');
  },
);
