import { expect } from '@jest/globals';
import { demoAgent } from '../../harness/objects.ts';
import { type HandWritten, writeByHand } from '../../harness/runner-hand.ts';
import { slackChats } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = slackStage({ manifests: { ...demoAgent('helper'), ...slackChats({}, { sessionMode: 'PerThread' }) } });

/** A thread in which the agent has answered, with hands on the agent's side of it. */
async function conversation() {
  const { slack, house } = stage.it;
  const thread = await slack.say('say first words');
  const answer = await slack.answer(thread, 'first words');
  const session = house.files.find(`team/${slack.chat}/${thread}`) ?? '';
  const [asked] = house.files.messages(session);
  const [own] = house.files.ledger(session);
  const write = (row: HandWritten): number => writeByHand(house.files, session, row);
  /** What the agent is told of a row that did not get through. */
  const told = (seq: number): Promise<string> =>
    until(`the agent is told of ${seq}`, () =>
      house.files.messages(session).find(({ kind, content }) => kind === 'system' && content.includes(`Your message ${seq} `)),
    ).then(({ content }) => (JSON.parse(content) as { text: string }).text);
  return { slack, house, thread, answer, session, asked: asked?.seq ?? 0, own: own?.seq ?? 0, write, told };
}

verifies(
  'tool/send-card',
  'a card is laid out with its fields and links, its fallback is what notifications show; one that is too much for that is text, whole',
  async () => {
    const { slack, thread, write } = await conversation();
    const card = {
      title: 'Build 7',
      text: 'It is **green**.',
      fields: [{ label: 'Time', value: '3 s' }],
      links: [{ label: 'Log', url: 'https://ci.example/7' }],
      fallback: 'Build 7 is green',
    };
    await slack.say(`tool send_card ${JSON.stringify(card)}`, thread);
    const sent = await slack.answer(thread, 'Build 7 is green');
    expect(sent.text).toBe('Build 7 is green');
    expect(sent.blocks).toMatchObject([
      { type: 'header', text: { text: 'Build 7' } },
      { type: 'section', text: { text: 'It is *green*.' } },
      { type: 'section', fields: [{ text: '*Time*\n3 s' }] },
      { type: 'section', text: { text: '<https://ci.example/7|Log>' } },
    ]);
    // More than the tool would let through: what the platform would not lay out is not lost for it.
    write({ kind: 'card', content: { ...card, title: 'x'.repeat(200), text: 'the whole of it' } });
    const plain = await slack.answer(thread, 'the whole of it');
    expect(plain.blocks ?? []).toEqual([]);
    for (const part of ['x'.repeat(200), '*Time:* 3 s', '<https://ci.example/7|Log>']) expect(plain.text).toContain(part);
  },
  PATIENT_MS,
);

verifies(
  'tool/edit-message',
  'an own message is changed by its number; what others wrote, or what never arrived, is refused with a sentence for the agent',
  async () => {
    const { slack, thread, answer, asked, own, write, told } = await conversation();
    await slack.say(`tool edit_message ${JSON.stringify({ message: own, text: 'second **thoughts**' })}`, thread);
    expect((await slack.answer(thread, 'second *thoughts*')).ts).toBe(answer.ts);
    // A runner that the agent has taken over asks for what its tools would not.
    const theirs = write({ kind: 'edit', content: { target: asked, text: 'words in their mouth' } });
    expect(await told(theirs)).toMatch(/could not be delivered: cannot edit the message on Slack: cant_update_message/);
    const lost = write({ kind: 'file', content: { path: 'outbox/nothing', name: 'x', mimeType: 'text/plain', sizeBytes: 1 } });
    await told(lost);
    expect(await told(write({ kind: 'edit', content: { target: lost, text: 'x' } }))).toContain(`message ${lost} was never delivered`);
    expect(await told(write({ kind: 'edit', content: { target: 4_444, text: 'x' } }))).toContain('there is no message 4444 in a chat');
  },
  PATIENT_MS,
);

verifies(
  'tool/add-reaction',
  'on what a person wrote and on an own message, by its number; one that the platform does not have is refused with a sentence for the agent',
  async () => {
    const { slack, thread, asked, own, write, told } = await conversation();
    await slack.say(
      `tool add_reaction ${JSON.stringify({ message: asked, emoji: '👍' })}\ntool add_reaction ${JSON.stringify({ message: own, emoji: '🎉' })}\nsay reacted`,
      thread,
    );
    await slack.answer(thread, 'reacted');
    const { messages } = (await slack.call('conversations.replies', { channel: slack.chat, ts: thread })) as {
      messages: { text: string; reactions?: { name: string }[] }[];
    };
    expect(messages.slice(0, 2).map(({ text, reactions = [] }) => [text, reactions.map(({ name }) => name)])).toEqual([
      ['say first words', ['+1']],
      ['first words', ['tada']],
    ]);
    expect(await told(write({ kind: 'reaction', content: { target: asked, emoji: 'not an emoji' } }))).toContain(
      'cannot react on Slack: it has no emoji',
    );
  },
  PATIENT_MS,
);
