import { expect } from '@jest/globals';
import { demoAgent, manifest } from '../../harness/objects.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const wire = (chatId: string, more: object) =>
  manifest('MessagingGroup', chatId.toLowerCase(), { channelRef: 'team', chatId, ...more } as never);
const stage = slackStage({
  manifests: {
    ...demoAgent('helper'),
    ...wire('CSTRICT', { unknownSenders: 'Strict', agents: [{ agentGroupRef: 'helper', engage: { mode: 'Always' } }] }),
    ...wire('CMENTION', { unknownSenders: 'Public', agents: [{ agentGroupRef: 'helper', engage: { mode: 'Mention' } }] }),
    ...wire('CEMPTY', { unknownSenders: 'Public', agents: [] }),
    ...wire('CKNOWN', {
      unknownSenders: 'Public',
      agents: [{ agentGroupRef: 'helper', engage: { mode: 'Always' }, senderScope: 'Known' }],
    }),
    ...wire('CNOBODY', { unknownSenders: 'Public', agents: [{ agentGroupRef: 'missing', engage: { mode: 'Always' } }] }),
  },
});

verifies(
  'route/drop-recorded',
  'each message that reaches nobody has a reason, counted per sender, that `dovecote drops` lists and `dovecote why` tells, after a restart too',
  async () => {
    const scene = stage.it;
    const sent: Record<string, string> = {};
    for (const chat of ['CUNWIRED', 'CSTRICT', 'CSTRICT', 'CMENTION', 'CEMPTY', 'CKNOWN', 'CNOBODY']) {
      const ts = await scene.says({ chat, user: 'UEVE', text: 'let me in' });
      sent[chat] = `team/${chat}/${ts}`;
    }
    await scene.says({ chat: 'CSTRICT', user: 'UMALLORY', text: 'let me in' });
    await scene.says({ chat: 'CMENTION', user: 'UBOTTY', text: 'beep', more: { bot_id: 'BOTHER' } });
    expect(scene.house.files.sessions()).toEqual([]);
    await scene.house.restart();
    const { stdout } = await scene.house.command('drops', '--output', 'json');
    const drops = JSON.parse(stdout) as { chat: string; sender: string; reason: string; count: number }[];
    const counted = drops.map(({ chat, sender, reason, count }) => `${chat} ${sender} ${reason} ${count}`).sort();
    expect(counted).toEqual(
      [
        'CUNWIRED UEVE Unwired 1',
        'CSTRICT UEVE SenderUnknown 2',
        'CSTRICT UMALLORY SenderUnknown 1',
        'CMENTION UEVE NotEngaged 1',
        'CMENTION UBOTTY SenderIsBot 1',
        'CEMPTY UEVE NoAgents 1',
        'CKNOWN UEVE SenderOutOfScope 1',
        'CNOBODY UEVE AgentMissing 1',
      ].sort(),
    );
    const why = await scene.house.command('why', sent['CUNWIRED'] ?? '');
    expect(why.stdout).toMatch(/Dropped: no MessagingGroup names chat CUNWIRED/);
    expect((await scene.house.command('drops')).stdout).toMatch(/^CHANNEL +CHAT +SENDER +AGENT +REASON +COUNT/);
    const unknown = await scene.house.command('why', 'team/CNEVER/1.2');
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing is recorded of team/CNEVER/1.2') });
  },
  PATIENT_MS,
);
