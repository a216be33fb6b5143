import { expect } from '@jest/globals';
import { demoAgent } from '../../harness/objects.ts';
import { slackChats } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = slackStage({ manifests: { ...demoAgent('helper'), ...slackChats({}, { sessionMode: 'PerThread' }) } });

verifies(
  'chan/slack',
  'a person writes in Slack: answers in the thread, a conversation per thread, files, edits; and what we write ourselves is not heard',
  async () => {
    const scene = stage.it;
    const { slack, house } = scene;
    const ts = await slack.say('remember teal');
    expect((await slack.answer(ts, 'I will remember: teal')).thread_ts).toBe(ts);
    await slack.say('recall', ts);
    await slack.answer(ts, 'I remember: teal');
    const other = await slack.say('recall');
    await slack.answer(other, 'I remember nothing');
    const third = await slack.say(
      'tool write_file {"path":"a.txt","content":"hello file"}\ntool send_file {"path":"a.txt","text":"here it is"}\nsay **done**',
    );
    await slack.answer(third, '*done*');
    const { messages } = (await slack.call('conversations.replies', { channel: slack.chat, ts: third })) as {
      messages: { files?: { name: string; url_private_download: string }[] }[];
    };
    const sent = messages.flatMap(({ files = [] }) => files)[0];
    expect(sent?.name).toBe('a.txt');
    const edited = await slack.say('say never mind');
    await slack.answer(edited, 'never mind');
    await slack.call('chat.update', { channel: slack.chat, ts: edited, text: 'say something new' });
    const session = house.files.find(`team/${slack.chat}/${edited}`) ?? '';
    await until('the agent is told of the edit', () =>
      house.files.messages(session).find(({ kind, content }) => kind === 'system' && content.includes('something new')),
    );
    // Five messages of the person, four threads: no session was opened by our own messages.
    expect(house.files.sessions()).toHaveLength(4);
    const stored = house.files
      .sessions()
      .flatMap((name) => house.files.messages(name))
      .filter(({ kind }) => kind === 'chat');
    expect(stored).toHaveLength(5);
    expect(stored.every(({ sender_name }) => sender_name !== '')).toBe(true);
  },
  PATIENT_MS,
);
