import { expect } from '@jest/globals';
import { BOT_USER } from '../../emulators/slack.ts';
import { demoAgent } from '../../harness/objects.ts';
import { acceptEverything, slackChats } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const KNOWN = 'U000000001';
const stage = slackStage({
  manifests: { ...demoAgent('helper'), ...slackChats({ knownSenders: [KNOWN] }, { engage: { mode: 'Mention' }, ignored: 'Accumulate' }) },
});

verifies(
  'turn/resume-transcript',
  'a hundred sessions over a kill: all are there, those that were in mid-turn finish it, one that slept knows its context',
  async () => {
    const scene = stage.it;
    const { house } = scene;
    const taken = acceptEverything(scene.mock);
    await Promise.all(Array.from({ length: 100 }, (_, n) => scene.says({ chat: `C${n}`, user: KNOWN, text: `remember ${n}` })));
    for (const n of [0, 1, 2])
      await scene.says({ chat: `C${n}`, user: KNOWN, text: `<@${BOT_USER}>\ntool exec {"command":"sleep 1; echo x"}\nsay back ${n}` });
    await until('they are at work', () => [0, 1, 2].every((n) => house.files.history(house.files.find(`team/C${n}`) ?? '').length > 0));
    await house.stop('SIGKILL');
    await scene.begin();
    const { sessions } = await house.json<{ sessions: unknown[] }>('/api/sessions?limit=500');
    expect(sessions).toHaveLength(100);
    await scene.says({ chat: 'C77', user: KNOWN, text: `<@${BOT_USER}>\nsay awake 77` });
    for (const words of ['back 0', 'back 1', 'back 2', 'awake 77'])
      await until(`"${words}" is there`, () => taken.find(({ text }) => text.includes(words)));
    expect(house.files.sessions()).toHaveLength(100);
    expect(taken.filter(({ text }) => text.startsWith('back'))).toHaveLength(3);
    const read = house.files
      .history(house.files.find('team/C77') ?? '')
      .map(({ content }) => content)
      .join();
    expect(read).toContain('remember 77');
  },
  PATIENT_MS,
);
