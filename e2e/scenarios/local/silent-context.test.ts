import { expect } from '@jest/globals';
import { BOT_USER } from '../../emulators/slack.ts';
import { demoAgent, manifest } from '../../harness/objects.ts';
import { acceptEverything, nextTs, type SlackHouse } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const KNOWN = 'U000000001';
const chat = (chatId: string, mode: 'Mention' | 'MentionSticky') =>
  manifest('MessagingGroup', chatId.toLowerCase(), {
    channelRef: 'team',
    chatId,
    unknownSenders: 'Public',
    knownSenders: [KNOWN],
    agents: [{ agentGroupRef: 'helper', engage: { mode }, ignored: 'Accumulate' }],
  });
const stage = slackStage({ manifests: { ...demoAgent('helper'), ...chat('CQUIET', 'Mention'), ...chat('CSTICKY', 'MentionSticky') } });

const BOT = `<@${BOT_USER}>`;
const posted = (scene: SlackHouse, text: string) =>
  until(`"${text}" is answered`, () => scene.posted().find((post) => post.text.includes(text)));
const read = (scene: SlackHouse, session: string): string[] =>
  scene.house.files
    .history(session)
    .filter(({ role }) => role === 'user')
    .map(({ content }) => content);

verifies(
  'route/accumulate',
  'what does not engage the agent is kept silently when the sender is known, wakes nobody and makes nothing sticky',
  async () => {
    const scene = stage.it;
    acceptEverything(scene.mock);
    await scene.says({ chat: 'CQUIET', user: KNOWN, text: 'say the deploy is red' });
    await scene.says({ chat: 'CQUIET', user: 'USTRANGER', text: 'say spam' });
    const { files } = scene.house;
    const session = await until('the context is stored', () => files.find('team/CQUIET'));
    expect(files.messages(session)).toMatchObject([{ trigger: 0, status: 'pending' }]);
    const { sessions } = await scene.house.json<{ sessions: { session: string; state: string }[] }>('/api/sessions');
    expect(sessions.find((one) => one.session === session)?.state).toBe('Asleep');
    expect(scene.house.runners().size).toBe(0);
    // A silent message in a thread does not engage the agent in what follows.
    const thread = nextTs();
    await scene.says({ chat: 'CSTICKY', user: KNOWN, text: 'say chatter', ts: thread });
    await scene.says({ chat: 'CSTICKY', user: KNOWN, text: 'say more chatter', thread });
    const sticky = await until('that is stored too', () => files.find('team/CSTICKY'));
    await until('both are', () => files.messages(sticky).length === 2);
    expect(files.messages(sticky).map(({ trigger }) => trigger)).toEqual([0, 0]);
    expect(scene.posted()).toEqual([]);
  },
  PATIENT_MS,
);

verifies(
  'route/passive-order',
  'silent context reaches the model in order, before the message that calls it',
  async () => {
    const scene = stage.it;
    acceptEverything(scene.mock);
    await scene.says({ chat: 'CQUIET', user: KNOWN, text: 'say and now it is green' });
    await scene.says({ chat: 'CQUIET', user: KNOWN, text: `${BOT}\nsay called` });
    await posted(scene, 'called');
    const session = scene.house.files.find('team/CQUIET') ?? '';
    const said = read(scene, session);
    const at = ['the deploy is red', 'now it is green', 'say called'].map((words) => said.findIndex((content) => content.includes(words)));
    expect(at).toEqual([0, 1, 2]);
    expect(said[0]).toContain('context=\\"true\\"');
    expect(said[2]).not.toContain('context=\\"true\\"');
    await until('all are done', () => scene.house.files.messages(session).every(({ status }) => status === 'done'));
  },
  PATIENT_MS,
);

verifies(
  'route/reply-context',
  'what a message answers reaches the model, with the number under which it knows it',
  async () => {
    const scene = stage.it;
    acceptEverything(scene.mock);
    const { files } = scene.house;
    const session = files.find('team/CQUIET') ?? '';
    // Slack has threads, not quotes: the first message of the thread is part of the conversation that the model reads.
    const opening = nextTs();
    await scene.says({ chat: 'CQUIET', user: KNOWN, text: `${BOT}\nsay the answer is 42`, ts: opening });
    await posted(scene, 'the answer is 42');
    await scene.says({ chat: 'CQUIET', user: KNOWN, text: `${BOT}\nsay thanks`, thread: opening });
    await posted(scene, 'thanks');
    const said = read(scene, session).join('\n');
    expect(said.indexOf('the answer is 42')).toBeLessThan(said.indexOf('say thanks'));
    expect(files.messages(session).find(({ content }) => content.includes('say thanks'))?.thread).toBe(opening);
  },
  PATIENT_MS,
);

verifies(
  'route/edited-and-deleted',
  'an edit before the message is read changes what the agent reads; one after it, and a deletion, are told to the agent',
  async () => {
    const scene = stage.it;
    acceptEverything(scene.mock);
    const { files } = scene.house;
    const session = files.find('team/CQUIET') ?? '';
    const unread = await scene.says({ chat: 'CQUIET', user: KNOWN, text: 'say the old plan' });
    const gone = await scene.says({ chat: 'CQUIET', user: KNOWN, text: 'say a slip of the tongue' });
    await scene.says({
      chat: 'CQUIET',
      text: '',
      more: {
        subtype: 'message_changed',
        message: { type: 'message', user: KNOWN, text: 'say the new plan', ts: unread },
        previous_message: { user: KNOWN, text: 'say the old plan', ts: unread },
      },
    });
    await scene.says({
      chat: 'CQUIET',
      text: '',
      more: {
        subtype: 'message_deleted',
        deleted_ts: gone,
        previous_message: { type: 'message', user: KNOWN, text: 'say a slip of the tongue', ts: gone },
      },
    });
    const asked = await scene.says({ chat: 'CQUIET', user: KNOWN, text: `${BOT}\nsay read it` });
    await posted(scene, 'read it');
    const said = read(scene, session).join('\n');
    expect(said).toContain('the new plan');
    expect(said).toContain('edited=\\"true\\"');
    expect(said).not.toContain('the old plan');
    expect(said).not.toContain('slip of the tongue');
    // Read already: the agent is told.
    await scene.says({
      chat: 'CQUIET',
      text: '',
      more: {
        subtype: 'message_changed',
        message: { type: 'message', user: KNOWN, text: 'say read something else', ts: asked },
        previous_message: { user: KNOWN, text: `${BOT}\nsay read it`, ts: asked },
      },
    });
    const told = await until('the agent is told', () =>
      files.messages(session).find(({ kind, content }) => kind === 'system' && content.includes('something else')),
    );
    expect(told.content).toMatch(/edit/i);
  },
  PATIENT_MS,
);
