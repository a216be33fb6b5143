/** What is named and does not exist. */
import { expect } from '@jest/globals';
import { apply, conditionOf, get, kubectl, untilCondition } from '../../harness/cluster.ts';
import {
  agentGroup,
  clusterVerifies,
  messagingGroup,
  sessionOf,
  sessionsOf,
  slackChannel,
  slackSecret,
} from '../../harness/cluster-scenario.ts';

clusterVerifies('kube/refs', 'a missing Channel, AgentGroup, Secret or key is a condition that heals by itself', async (scenario) => {
  const agent = scenario.name('agent');
  const channel = scenario.name('slack');
  const slack = await scenario.slack();
  await scenario.make(messagingGroup(channel, channel, slack.chat, agent, 'Shared'));
  const unwired = await untilCondition('messaginggroup', channel, 'RefsResolved', 'False', 'ReferenceMissing');
  expect(conditionOf(unwired, 'Ready')).toMatchObject({ status: 'False', message: expect.stringContaining(`AgentGroup ${agent}`) });
  expect(conditionOf(unwired, 'Ready')?.message).toContain(`Channel ${channel}`);

  await scenario.make(agentGroup(agent), slackChannel(channel, slack.apiUrl));
  await untilCondition('messaginggroup', channel, 'Ready', 'True');
  await untilCondition('channel', channel, 'CredentialsFound', 'False', 'SecretMissing');
  const secret = slackSecret(channel, slack) as { stringData: Record<string, string> };
  await scenario.make({ ...secret, stringData: { 'bot-token': secret.stringData['bot-token'] ?? '' } });
  await untilCondition('channel', channel, 'CredentialsFound', 'False', 'SecretKeyMissing');
  await apply(secret);
  await untilCondition('channel', channel, 'Ready', 'True');
  await untilCondition('channel', channel, 'Connected', 'True');

  // What others name cannot vanish without a word.
  await kubectl('delete', 'agentgroup', agent);
  await untilCondition('messaginggroup', channel, 'Ready', 'False', 'ReferenceMissing');
  await apply(agentGroup(agent));
  await untilCondition('messaginggroup', channel, 'Ready', 'True');
});

clusterVerifies(
  'sec/refuse-without-credentials',
  'an agent whose key is missing gets no Pod, and goes on by itself when the key is there',
  async (scenario) => {
    const agent = scenario.name('agent');
    const provider = { type: 'anthropic', anthropic: { baseURL: 'http://127.0.0.1:9', credentialsRef: { name: agent } } };
    await scenario.make(agentGroup(agent, { provider }));
    await untilCondition('agentgroup', agent, 'Ready', 'False', 'SecretMissing');
    const { slack } = await scenario.slackChat(agent);
    await slack.say('hello');
    const { name } = (await sessionOf(agent)).metadata;
    const session = await untilCondition('session', name, 'Ready', 'False', 'CredentialsMissing');
    expect(conditionOf(session, 'Ready')?.message).toContain(agent);
    expect(await get('pod', name)).toBeUndefined();
    await scenario.make({ apiVersion: 'v1', kind: 'Secret', metadata: { name: agent }, stringData: { 'api-key': 'x' } });
    await untilCondition('session', name, 'Active', 'True');
    expect(await sessionsOf(agent)).toHaveLength(1);
  },
);
