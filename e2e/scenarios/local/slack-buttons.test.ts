import { expect } from '@jest/globals';
import type { SlackMessage } from '../../emulators/slack.ts';
import { demoAgent } from '../../harness/objects.ts';
import { slackChats } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const EVE = 'U000000666';
const stage = slackStage({
  manifests: (person) => ({
    ...demoAgent('helper'),
    ...slackChats({ unknownSenders: 'Strict', knownSenders: [person] }, { sessionMode: 'PerThread' }),
  }),
});

verifies(
  'chan/slack',
  'buttons: pressed by someone who may speak there they are the answer, and the message says so; pressed by anyone else, or forged, they are not',
  async () => {
    const scene = stage.it;
    const { slack, house } = scene;
    const alice = slack.person;
    const thread = await slack.say(
      'tool ask_user_question {"title":"Colour","question":"Which **one**?","options":["Red","Blue"]}\nsay done: {result}',
    );
    const asked = await slack.answer(thread, 'Which *one*?');
    const session = house.files.find(`team/${slack.chat}/${thread}`) ?? '';
    const buttons = (message: SlackMessage | undefined) => message?.blocks?.flatMap(({ elements = [] }) => elements) ?? [];
    expect(buttons(asked).map(({ text }) => text.text)).toEqual(['Red', 'Blue']);
    const [red, blue] = buttons(asked).map(({ value }) => value);
    const press = (user: string, data = '', more: object = {}): Promise<number> =>
      scene.press({ ts: asked.ts, thread, user, data, ...more });

    expect(await press(EVE, red)).toBe(200);
    expect(await press(alice, red?.replace(session, 'helper-aaaaaaaaaa'))).toBe(200);
    expect(await press(alice, red, { thread: '1.000001' })).toBe(200);
    await until('whoever may not is told so, alone', () => scene.mock.callsOf('chat.postEphemeral').length >= 3);
    const { stdout } = await house.command('drops', '--output', 'json');
    const drops = JSON.parse(stdout) as { sender: string; reason: string; count: number }[];
    expect(drops.map(({ sender, reason, count }) => `${sender} ${reason} ${count}`).sort()).toEqual(
      [`${alice} QuestionUnknown 2`, `${EVE} SenderUnknown 1`].sort(),
    );
    expect(buttons((await slack.replies(thread)).find(({ ts }) => ts === asked.ts))).toHaveLength(2);

    expect(await press(alice, blue)).toBe(200);
    await slack.answer(thread, /^done: .*chose: Blue$/);
    const answered = await slack.answer(thread, /✓ \*Blue\*/);
    expect(answered.ts).toBe(asked.ts);
    expect(buttons(answered)).toEqual([]);
    expect(await press(alice, red)).toBe(200);
    const answers = house.files.messages(session).filter(({ content: stored }) => stored.includes('questionSeq'));
    expect(answers.map(({ sender, thread: place }) => [sender, place])).toEqual([[alice, thread]]);
    expect(JSON.parse(answers[0]?.content ?? '')).toMatchObject({ text: 'Blue', answer: { title: 'Colour', label: 'Blue' } });
    // The signature is the same as for events: without it nothing is read.
    const body = new URLSearchParams({ payload: '{"type":"block_actions"}' }).toString();
    expect(await scene.post(body, { ...slack.signature(body, 'guessed'), 'content-type': 'application/x-www-form-urlencoded' })).toBe(401);
  },
  PATIENT_MS,
);
