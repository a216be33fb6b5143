import { expect } from '@jest/globals';
import { BOT_USER } from '../../emulators/slack.ts';
import { LocalMode } from '../../harness/local-mode.ts';
import { demoAgent, manifest, webAgent } from '../../harness/objects.ts';
import { acceptEverything, nextTs, type SlackHouse } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const chat = (chatId: string, engage: object, more: object = {}) =>
  manifest('MessagingGroup', chatId.toLowerCase(), {
    channelRef: 'team',
    chatId,
    unknownSenders: 'Public',
    agents: [{ agentGroupRef: 'helper', engage, ...more }],
  } as never);

const stage = slackStage({
  manifests: {
    ...demoAgent('helper'),
    ...chat('CALWAYS', { mode: 'Always' }),
    ...chat('CMENTION', { mode: 'Mention' }),
    ...chat('CSTICKY', { mode: 'MentionSticky' }),
    ...chat('CPATTERN', { mode: 'Pattern', pattern: '(?i)deploy\\s+v[0-9]+' }),
  },
});

const texts = (scene: SlackHouse): string =>
  scene
    .posted()
    .map(({ text }) => text)
    .join('\n');
const BOT = `<@${BOT_USER}>`;

verifies(
  'route/engage-modes',
  'always, mention, a mention and what follows it in the thread, and a pattern each wake the agent when they should and only then',
  async () => {
    const scene = stage.it;
    acceptEverything(scene.mock);
    const thread = nextTs();
    await scene.says({ chat: 'CALWAYS', text: 'say yes-always' });
    await scene.says({ chat: 'CMENTION', text: 'say no-mention' });
    await scene.says({ chat: 'CMENTION', text: `${BOT}\nsay yes-mention` });
    await scene.says({ chat: 'CSTICKY', text: 'say no-sticky' });
    await scene.says({ chat: 'CSTICKY', text: `${BOT}\nsay yes-sticky`, ts: thread });
    await scene.says({ chat: 'CSTICKY', thread, text: 'say yes-in-thread' });
    await scene.says({ chat: 'CSTICKY', text: 'say no-outside-thread' });
    await scene.says({ chat: 'CPATTERN', text: 'say no-pattern' });
    await scene.says({ chat: 'CPATTERN', text: 'please DEPLOY v12\nsay yes-pattern' });
    await until('what should be answered is', () =>
      ['always', 'mention', 'sticky', 'in-thread', 'pattern'].every((mode) => texts(scene).includes(`yes-${mode}`)),
    );
    const stored = scene.house.files.sessions().flatMap((session) => scene.house.files.messages(session).map(({ content }) => content));
    expect(stored.filter((content) => content.includes('say no-'))).toEqual([]);
    const { drops } = await scene.house.json<{ drops: { reason: string; count: number }[] }>('/api/drops');
    expect(drops.reduce((sum, { count }) => sum + Number(count), 0)).toBe(4);
  },
  PATIENT_MS,
);

verifies(
  'route/engage-modes',
  'an invalid pattern is refused when it is written, with the words that an API server uses',
  async () => {
    const house = new LocalMode({
      manifests: {
        ...webAgent(),
        ...manifest('MessagingGroup', 'broken', {
          channelRef: 'web',
          chatId: 'x',
          agents: [{ agentGroupRef: 'assistant', engage: { mode: 'Pattern', pattern: 'a(b' } }],
        }),
      },
    });
    try {
      await expect(house.start()).rejects.toThrow(
        /messaginggroup-broken\.json: .*spec\.agents\[0\]\.engage\.pattern.*(regular expression|RE2)/s,
      );
    } finally {
      await house.dispose();
    }
  },
  PATIENT_MS,
);
