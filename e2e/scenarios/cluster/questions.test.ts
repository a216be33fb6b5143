/** An agent asks people and waits, with its Pod and without. */
import { expect } from '@jest/globals';
import { get } from '../../harness/cluster.ts';
import { clusterVerifies, untilAsleep } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';
import type { WebChat } from '../../harness/web-chat.ts';

const ask = (title: string, more: object = {}): string =>
  `tool ask_user_question ${JSON.stringify({ title, question: 'Which one?', options: ['Red', 'Blue'], ...more })}\nsay ${title}: {result}`;

/** The question as the page shows it. */
const asked = (chat: WebChat, title: string) =>
  until('the page shows the question', () => chat.rows().find(({ kind, content }) => kind === 'question' && content.includes(title)));

clusterVerifies(
  'tool/ask-user-question',
  'a choice made in time is the result of the call that asked, in the same turn and Pod; one made when the Pod is gone wakes another, which goes on from it, once',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({ idleTimeout: '2s' }, agent);
    const chat = (await scenario.webChat(agent))();
    await chat.send(`remember teal\n${ask('Colour')}`);
    const first = await asked(chat, 'Colour');
    const { session } = first;
    const pod = (await get('pod', session))?.metadata.uid;
    expect(pod).toBeDefined();
    const both = await Promise.all([0, 1].map((option) => chat.press({ session, seq: first.seq, option })));
    expect(both.map(({ outcome }) => outcome).sort()).toEqual(['already-answered', 'stored']);
    const label = both.find(({ outcome }) => outcome === 'stored')?.label ?? '';
    expect(await chat.answer('Colour: ')).toContain(`chose: ${label}`);
    expect((await get('pod', session))?.metadata.uid ?? pod).toBe(pod); // the same, or asleep by now

    await chat.send(ask('Shape', { wait_seconds: 3 }));
    const second = await asked(chat, 'Shape');
    await chat.answer('Shape: Nobody has answered yet');
    await untilAsleep(session);
    expect(await chat.press({ session, seq: second.seq, option: 1 })).toMatchObject({ outcome: 'stored', label: 'Blue' });
    await chat.answer('You chose: Blue');
    expect((await get('pod', session))?.metadata.uid).not.toBe(pod);
    expect(chat.answers().filter((text) => text.includes('You chose'))).toHaveLength(1);
    await chat.ask('recall', 'I remember: teal');
  },
);
