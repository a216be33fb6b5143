import { expect } from '@jest/globals';
import { demoAgent, manifest } from '../../harness/objects.ts';
import { acceptEverything, nextTs, type SlackHouse } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const chat = (channelRef: string, chatId: string, agentGroupRef: string, sessionMode: 'Shared' | 'PerThread' | 'AgentShared') =>
  manifest('MessagingGroup', `${chatId.toLowerCase()}-${agentGroupRef}`, {
    channelRef,
    chatId,
    unknownSenders: 'Public',
    agents: [{ agentGroupRef, engage: { mode: 'Always' }, sessionMode }],
  });

const stage = slackStage({
  manifests: {
    ...demoAgent('helper'),
    ...demoAgent('everywhere'),
    ...manifest('Channel', 'web', { type: 'local' }),
    ...chat('team', 'CSHARED', 'helper', 'Shared'),
    ...chat('team', 'CTHREADS', 'helper', 'PerThread'),
    ...chat('team', 'DTHREADS', 'helper', 'PerThread'),
    ...chat('team', 'CONE', 'everywhere', 'AgentShared'),
    ...chat('web', 'desk', 'everywhere', 'AgentShared'),
    ...chat('team', 'CALONE', 'everywhere', 'Shared'),
  },
});

const scopes = (scene: SlackHouse): string[] =>
  scene.house.files
    .sessions()
    .flatMap((s) => scene.house.files.inbound<{ scope: string }>(s, 'SELECT scope FROM meta').map(({ scope }) => scope));
const answered = (scene: SlackHouse, text: string) =>
  until(`"${text}" is answered`, () => scene.posted().find((post) => post.text.includes(text)));

verifies(
  'route/session-modes',
  'shared is one conversation for the chat, perThread one for each thread and one for a whole direct chat',
  async () => {
    const scene = stage.it;
    acceptEverything(scene.mock);
    const [a, b, c] = [nextTs(), nextTs(), nextTs()];
    await scene.says({ chat: 'CSHARED', text: 'say one', ts: a });
    await scene.says({ chat: 'CSHARED', text: 'say two', thread: a });
    await scene.says({ chat: 'CTHREADS', text: 'say three', ts: b });
    await scene.says({ chat: 'CTHREADS', text: 'say four', thread: b });
    await scene.says({ chat: 'CTHREADS', text: 'say five', ts: c });
    await scene.says({ chat: 'DTHREADS', chatType: 'im', text: 'say six' });
    await scene.says({ chat: 'DTHREADS', chatType: 'im', text: 'say seven', thread: a });
    for (const word of ['one', 'two', 'three', 'four', 'five', 'six', 'seven']) await answered(scene, word);
    expect(scopes(scene).sort()).toEqual(['team/CSHARED', `team/CTHREADS/${b}`, `team/CTHREADS/${c}`, 'team/DTHREADS'].sort());
    // The answer to a message that opens a thread goes into that thread.
    expect((await answered(scene, 'three')).thread_ts).toBe(b);
    expect((await answered(scene, 'five')).thread_ts).toBe(c);
  },
  PATIENT_MS,
);

verifies(
  'route/session-modes',
  'agentShared is one conversation over Slack and the web chat, each answered where it was asked',
  async () => {
    const scene = stage.it;
    acceptEverything(scene.mock);
    await scene.says({ chat: 'CONE', text: 'remember slack' });
    await answered(scene, 'I will remember: slack');
    const desk = scene.house.chat('web', 'desk');
    expect(await desk.ask('recall', 'I remember')).toBe('I remember: slack');
    expect(scopes(scene).filter((scope) => scope === '*')).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'route/agent-shared-strict',
  "a chat's own session of the same agent and the shared one never find each other",
  async () => {
    const scene = stage.it;
    acceptEverything(scene.mock);
    await scene.says({ chat: 'CALONE', text: 'remember alone\nsay kept alone' });
    await answered(scene, 'kept alone');
    await scene.says({ chat: 'CALONE', text: 'recall' });
    await until('it recalls', () => scene.posted().find(({ channel, text }) => channel === 'CALONE' && text.includes('I remember: alone')));
    const desk = scene.house.chat('web', 'desk');
    await desk.ask('remember desk\nrecall\nsay from the desk', 'from the desk');
    expect(desk.answers().filter((text) => text.includes('alone'))).toEqual([]);
    const { files } = scene.house;
    expect(files.find('team/CALONE', 'everywhere')).not.toBe(files.find('*', 'everywhere'));
  },
  PATIENT_MS,
);
