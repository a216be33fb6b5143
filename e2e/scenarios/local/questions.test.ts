import { randomUUID } from 'node:crypto';
import { expect } from '@jest/globals';
import type { LocalChat, LocalMode } from '../../harness/local-mode.ts';
import { webAgent } from '../../harness/objects.ts';
import { writeByHand } from '../../harness/runner-hand.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();
/** Sessions there fall asleep at once; rows that are written by hand meanwhile are found by the sweep. */
const sleepy = localStage({
  manifests: webAgent({ idleTimeout: '1s' }),
  flags: ['--limits', JSON.stringify({ delivery: { sweepMs: 500 } })],
});

interface Pressed {
  readonly outcome: 'stored' | 'already-answered' | 'refused';
  readonly label: string;
  readonly refused: readonly string[];
}

async function ask(
  house: LocalMode,
  chat: LocalChat,
  questionId: string,
  labels: readonly string[],
): Promise<{ session: string; seq: number }> {
  await chat.ask(`say ready for ${questionId}`, `ready for ${questionId}`);
  const session = await chat.session();
  const options = labels.map((label, i) => ({ label, value: `value ${i}` }));
  const content = { questionId, title: 'Colour', text: 'Which one?', options, expiresAt: 1 };
  const seq = writeByHand(house.files, session, { kind: 'question', content });
  await until('the page shows the question', () => chat.rows().find((row) => row.seq === seq && row.kind === 'question'));
  return { session, seq };
}

async function press(house: LocalMode, chat: LocalChat, body: object): Promise<Pressed> {
  const response = await house.request(`/api/channels/web/chats/${chat.chat}/answers`, {
    method: 'POST',
    body: JSON.stringify({ id: randomUUID(), ...body }),
  });
  if (!response.ok) throw new Error(`the answer was not taken: ${response.status} ${await response.text()}`);
  return (await response.json()) as Pressed;
}
const answersIn = (house: LocalMode, session: string) =>
  house.files.messages(session).filter(({ content }) => 'answer' in (JSON.parse(content) as object));

verifies(
  'tool/ask-user-question',
  'of two clicks one counts and the other is told which; what was never asked, or not there, is refused with a record',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    const other = house.chat();
    const { session, seq } = await ask(house, chat, 'two-clicks', ['Red', 'Blue']);
    for (const [where, forged] of [
      [chat, { session, seq, option: 2 }],
      [other, { session, seq, option: 0 }],
      [chat, { session, seq: seq + 100, option: 0 }],
      [chat, { session: 'assistant-aaaaaaaaaa', seq, option: 0 }],
    ] as const)
      expect(await press(house, where, forged)).toMatchObject({
        outcome: 'refused',
        refused: [expect.stringContaining('has no question')],
      });
    await expect(press(house, chat, { session, seq, option: -1 })).rejects.toThrow('400');
    const both = await Promise.all([0, 1].map((option) => press(house, chat, { session, seq, option })));
    expect(both.map(({ outcome }) => outcome).sort()).toEqual(['already-answered', 'stored']);
    const label = both.find(({ outcome }) => outcome === 'stored')?.label ?? '';
    expect(both.map((one) => one.label)).toEqual([label, label]);
    await chat.answer(`You chose: ${label}`);
    expect(answersIn(house, session)).toMatchObject([{ lane: 'control', trigger: 1 }]);
    const { stdout } = await house.command('drops', '--output', 'json');
    expect(JSON.parse(stdout)).toMatchObject([{ reason: 'QuestionUnknown' }, { reason: 'QuestionUnknown' }]);
    // The page of someone else who comes later finds the answer beside the question.
    const again = house.chat('web', chat.chat);
    const shown = await until('the answer is shown', () => again.rows().find(({ content }) => 'answer' in (JSON.parse(content) as object)));
    expect(JSON.parse(shown.content)).toMatchObject({ text: label, answer: { questionId: 'two-clicks', questionSeq: seq, label } });
  },
  PATIENT_MS,
);

verifies(
  'tool/ask-user-question',
  'an answer that comes when the Pod sleeps wakes it, also after a restart of everything in between',
  async () => {
    const house = sleepy.it;
    const chat = house.chat();
    const { session, seq } = await ask(house, chat, 'late', ['Red', 'Blue']);
    await until('the session sleeps', () => !house.runners().has(session));
    await house.restart();
    expect(await press(house, chat, { session, seq, option: 1 })).toMatchObject({ outcome: 'stored' });
    await chat.answer('You chose: Blue');
    expect(answersIn(house, session)).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'tool/ask-user-question',
  'a number or a label that is typed is the answer, a sentence is not and leaves the question open',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    const { session } = await ask(house, chat, 'typed', ['Red', 'Blue']);
    await chat.ask('say I wonder whether 2 is right', 'I wonder whether 2 is right');
    expect(answersIn(house, session)).toEqual([]);
    await chat.ask('2', 'You chose: Blue');
    expect(answersIn(house, session)).toHaveLength(1);
    await chat.ask('2', 'You said: 2');
    expect(answersIn(house, session)).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'tool/ask-user-question',
  'delivery is killed between storing an answer and saying so: the click that comes again is the same answer, and the agent hears it once',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    const { session, seq } = await ask(house, chat, 'killed', ['Red', 'Blue']);
    await house.restart(['--crash-at', 'delivery/after-commit-before-answer']);
    const click = { id: randomUUID(), session, seq, option: 1 };
    await expect(press(house, chat, click)).rejects.toThrow();
    expect(await house.ended()).toBe('SIGKILL');
    expect(answersIn(house, session)).toHaveLength(1);
    await house.start();
    expect(await press(house, chat, click)).toMatchObject({ outcome: 'stored', label: 'Blue' });
    expect(await press(house, chat, { session, seq, option: 0 })).toMatchObject({ outcome: 'already-answered', label: 'Blue' });
    await chat.answer('You chose: Blue');
    expect(answersIn(house, session)).toHaveLength(1);
    expect(chat.answers().filter((text) => text === 'You chose: Blue')).toHaveLength(1);
  },
  PATIENT_MS,
);
