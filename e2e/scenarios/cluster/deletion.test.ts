/** Objects go when they are deleted; conversations do not. */
import { expect } from '@jest/globals';
import { get, kubectl, list, podsOf, untilGone } from '../../harness/cluster.ts';
import { nodeReachable, onNode } from '../../harness/cluster-node.ts';
import { clusterVerifies, sessionOf, untilAwake } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

clusterVerifies(
  'kube/deletion',
  'a Session that is deleted takes its Pod with it, and the next message finds the conversation as it was',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({}, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('remember the first');
    await slack.answer(ts, 'I will remember: the first');
    const before = (await sessionOf(agent)).metadata;
    await untilAwake(before.name);
    const pod = (await get('pod', before.name))?.metadata.uid;
    await kubectl('delete', 'session', before.name, '--timeout=30s'); // waits: no finalizer may hang
    await until('its Pod goes too', async () => {
      const now = await get('pod', before.name);
      return now === undefined || now.metadata.uid !== pod || now.metadata.deletionTimestamp !== undefined;
    });
    await slack.say('recall', ts);
    await slack.answer(ts, 'I remember: the first', 100_000);
    const after = (await sessionOf(agent)).metadata;
    expect(after.name).toBe(before.name);
    expect(after.uid).not.toBe(before.uid);
  },
  200_000,
);

clusterVerifies(
  'kube/deletion',
  'deleting an AgentGroup removes all that was made for it and keeps the conversation on the volume',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({}, agent);
    const { slack, channel } = await scenario.slackChat(agent);
    const ts = await slack.say('hello');
    await slack.answer(ts, 'You said: hello');
    const { name } = (await sessionOf(agent)).metadata;
    await untilAwake(name);
    await kubectl('delete', 'messaginggroup', channel, '--timeout=30s');
    await kubectl('delete', 'agentgroup', agent, '--timeout=30s');
    await untilGone('session', name);
    await untilGone('pod', name, 100_000);
    await untilGone('serviceaccount', `dovecote-agent-${agent}`);
    await untilGone('networkpolicy', `dovecote-agent-${agent}`);
    expect((await list('sessions')).filter(({ spec }) => spec?.['agentGroupRef'] === agent)).toEqual([]);
    if (!nodeReachable()) return;
    const [delivery] = await podsOf('delivery');
    const volume = `/run/cluster/kubelet/pods/${delivery?.metadata.uid ?? ''}/volumes`;
    const { stdout } = await onNode('find', '-L', volume, '/var/lib/kubelet/pods', '-path', `*${name}/in/inbound.db`);
    expect(stdout).toContain(`${name}/in/inbound.db`);
  },
  200_000,
);
