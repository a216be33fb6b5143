/** Platforms as others play them, from the cluster and back. */
import { expect } from '@jest/globals';
import { TelegramEmulator } from '../../emulators/telegram.ts';
import { fact, untilCondition } from '../../harness/cluster.ts';
import { API_VERSION, clusterVerifies, sessionsOf } from '../../harness/cluster-scenario.ts';

clusterVerifies('chan/slack', 'a chat with one session is answered in the chat, threads with their own in the thread', async (scenario) => {
  const shared = scenario.name('shared');
  await scenario.agent({}, shared);
  const chat = await scenario.slackChat(shared, { sessionMode: 'Shared' });
  const top = await chat.slack.say('in the chat');
  const inThread = await chat.slack.say('in a thread of it', top);
  expect(inThread).not.toBe(top);
  await chat.slack.answer(top, 'You said: in a thread of it');
  expect(await sessionsOf(shared)).toHaveLength(1);

  const threaded = scenario.name('threaded');
  await scenario.agent({}, threaded);
  const threads = await scenario.slackChat(threaded);
  const [one, two] = [await threads.slack.say('remember one'), await threads.slack.say('remember two')];
  await threads.slack.answer(one, 'I will remember: one');
  await threads.slack.answer(two, 'I will remember: two');
  await threads.slack.say('recall', one);
  const { text } = await threads.slack.answer(one, 'I remember:');
  expect(text).toContain('one');
  expect(text).not.toContain('two'); // sessions of their own
  expect(await sessionsOf(threaded)).toHaveLength(2);
});

clusterVerifies('chan/telegram', 'a private chat with the bot is answered there', async (scenario) => {
  const agent = scenario.name('agent');
  await scenario.agent({}, agent);
  const telegram = await TelegramEmulator.start(fact('HOST_IP'));
  scenario.later(() => telegram.close());
  const name = scenario.name('telegram');
  await scenario.make(
    { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData: { 'bot-token': telegram.botToken } },
    {
      apiVersion: API_VERSION,
      kind: 'Channel',
      metadata: { name },
      spec: { type: 'telegram', telegram: { mode: 'Poll', apiURL: telegram.apiUrl, credentialsRef: { name } } },
    },
    {
      apiVersion: API_VERSION,
      kind: 'MessagingGroup',
      metadata: { name },
      spec: {
        channelRef: name,
        chatClass: 'Direct',
        unknownSenders: 'Public',
        agents: [{ agentGroupRef: agent, engage: { mode: 'Always' } }],
      },
    },
  );
  await untilCondition('channel', name, 'Connected', 'True');
  await untilCondition('messaginggroup', name, 'Ready', 'True');
  await telegram.say(42, 'hello by telegram');
  await telegram.answer(42, 'You said: hello by telegram');
  expect(telegram.replies(42)).toHaveLength(1);
  expect(telegram.replies(43)).toEqual([]);
});
