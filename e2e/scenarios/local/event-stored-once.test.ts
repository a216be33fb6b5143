import { expect } from '@jest/globals';
import { localStage, PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const slack = slackStage();
const web = localStage();

verifies(
  'cell/event-stored-once',
  'an event that Slack sends again is answered 200 and stored once, after a restart too',
  async () => {
    const scene = slack.it;
    const { body } = scene.event({ text: 'say once' });
    const send = (): Promise<number> => scene.insist(body);
    expect(await Promise.all([send(), send(), send()])).toEqual([200, 200, 200]);
    await scene.house.stop('SIGKILL');
    await scene.begin();
    expect(await send()).toBe(200);
    const [session = ''] = scene.house.files.sessions();
    expect(scene.house.files.messages(session)).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'cell/event-stored-once',
  'a message that the page sends again is stored once',
  async () => {
    const chat = web.it.chat();
    for (let time = 0; time < 3; time += 1) await chat.send('say hello', 'the-same-id');
    await chat.answer('hello');
    expect(web.it.files.messages(await chat.session())).toHaveLength(1);
    expect(chat.answers()).toHaveLength(1);
  },
  PATIENT_MS,
);
