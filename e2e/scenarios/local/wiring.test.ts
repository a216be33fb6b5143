import { expect } from '@jest/globals';
import { demoAgent, manifest } from '../../harness/objects.ts';
import { acceptEverything, type SlackHouse } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const group = (name: string, spec: object) =>
  manifest('MessagingGroup', name, { channelRef: 'team', unknownSenders: 'Public', ...spec } as never);
const always = (agentGroupRef: string, more: object = {}) => ({ agentGroupRef, engage: { mode: 'Always' }, ...more });

const stage = slackStage({
  manifests: {
    ...demoAgent('first'),
    ...demoAgent('second'),
    ...group('both', { chatId: 'CBOTH', agents: [always('first', { priority: 1 }), always('second', { priority: 9 })] }),
    ...group('other', { chatId: 'COTHER', agents: [always('first')] }),
    ...group('directs', { chatClass: 'Direct', agents: [always('second')] }),
    ...group('groups', { chatClass: 'Group', agents: [always('first')] }),
    ...group('special', { chatId: 'DSPECIAL', agents: [always('first')] }),
  },
});

const answers = (scene: SlackHouse, chat: string): string[] =>
  scene
    .posted()
    .filter(({ channel }) => channel === chat)
    .map(({ text }) => text);
const agentOf = (scene: SlackHouse, session: string): string | undefined =>
  scene.house.files.inbound<{ agent_group: string }>(session, 'SELECT agent_group FROM meta')[0]?.agent_group;

verifies(
  'route/wiring-many-to-many',
  'one chat reaches several agents in the order of their priority, and one agent hears several chats',
  async () => {
    const scene = stage.it;
    acceptEverything(scene.mock);
    await scene.says({ chat: 'CBOTH', text: 'say to both' });
    await scene.says({ chat: 'COTHER', text: 'say to one' });
    await until('three answers', () => answers(scene, 'CBOTH').length === 2 && answers(scene, 'COTHER').length === 1);
    const { files } = scene.house;
    expect(['first', 'second'].map((agent) => files.find('team/CBOTH', agent) !== undefined)).toEqual([true, true]);
    expect(agentOf(scene, files.find('team/COTHER') ?? '')).toBe('first');
  },
  PATIENT_MS,
);

verifies(
  'route/session-lookup-by-agent',
  'two agents in one chat have a session each, with a transcript each',
  async () => {
    const scene = stage.it;
    const { files } = scene.house;
    await scene.says({ chat: 'CBOTH', text: 'remember mine' });
    await scene.says({ chat: 'CBOTH', text: 'recall' });
    await until('both recall', () => answers(scene, 'CBOTH').filter((text) => text.includes('I remember: mine')).length === 2);
    const [a, b] = [files.find('team/CBOTH', 'first'), files.find('team/CBOTH', 'second')];
    expect(a).not.toBe(b);
  },
  PATIENT_MS,
);

verifies(
  'route/chat-match',
  'the chat named by its id wins over the class of the chat, and classes tell direct chats from groups',
  async () => {
    const scene = stage.it;
    const { files } = scene.house;
    await scene.says({ chat: 'DANY', chatType: 'im', text: 'say direct' });
    await scene.says({ chat: 'CANY', text: 'say group' });
    await scene.says({ chat: 'DSPECIAL', chatType: 'im', text: 'say special' });
    await until('all are answered', () => ['DANY', 'CANY', 'DSPECIAL'].every((chat) => answers(scene, chat).length === 1));
    expect(['DANY', 'CANY', 'DSPECIAL'].map((chat) => agentOf(scene, files.find(`team/${chat}`) ?? ''))).toEqual([
      'second',
      'first',
      'first',
    ]);
  },
  PATIENT_MS,
);
