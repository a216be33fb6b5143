import { randomUUID } from 'node:crypto';
import { expect } from '@jest/globals';
import type { LocalChat, LocalMode } from '../../harness/local-mode.ts';
import { webAgent } from '../../harness/objects.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();
/** Sessions there fall asleep at once. */
const sleepy = localStage({ manifests: webAgent({ idleTimeout: '1s' }) });

const QUESTION = 'tool ask_user_question {"title":"Colour","question":"Which one?","options":["Red","Blue"]}\nsay done: {result}';
const IMPATIENT = QUESTION.replace(']}', '],"wait_seconds":2}');

interface Asked {
  readonly session: string;
  readonly seq: number;
}

/** The agent asks, and its turn waits. */
async function ask(chat: LocalChat, question = QUESTION): Promise<Asked> {
  await chat.send(question);
  const { session, seq } = await until('the page shows the question', () => chat.rows().find(({ kind }) => kind === 'question'));
  return { session, seq };
}

const answersIn = (house: LocalMode, session: string) =>
  house.files.messages(session).filter(({ content }) => 'answer' in (JSON.parse(content) as object));
const turnsOf = (house: LocalMode, session: string) =>
  house.files.outbound<{ state: string; origin_seq: number }>(session, 'SELECT state, origin_seq FROM turns ORDER BY started_at');

verifies(
  'tool/ask-user-question',
  'a click is the result of the very call that asked, in the same turn; of two clicks one counts; what was never asked is refused with a record',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    const { session, seq } = await ask(chat);
    for (const [where, forged] of [
      [chat, { session, seq, option: 2 }],
      [house.chat(), { session, seq, option: 0 }],
      [chat, { session, seq: seq + 100, option: 0 }],
      [chat, { session: 'assistant-aaaaaaaaaa', seq, option: 0 }],
    ] as const)
      expect(await where.press(forged)).toMatchObject({
        outcome: 'refused',
        refused: [expect.stringContaining('has no question')],
      });
    await expect(chat.press({ session, seq, option: -1 })).rejects.toThrow('400');
    const both = await Promise.all([0, 1].map((option) => chat.press({ session, seq, option })));
    expect(both.map(({ outcome }) => outcome).sort()).toEqual(['already-answered', 'stored']);
    const label = both.find(({ outcome }) => outcome === 'stored')?.label ?? '';
    expect(both.map((one) => one.label)).toEqual([label, label]);
    expect(await chat.answer('done: ')).toContain(`chose: ${label}`);
    expect(answersIn(house, session)).toMatchObject([{ lane: 'control', trigger: 1 }]);
    await until('the turn has ended', () => turnsOf(house, session)[0]?.state === 'done');
    expect(turnsOf(house, session)).toHaveLength(1);
    const { stdout } = await house.command('drops', '--output', 'json');
    expect(JSON.parse(stdout)).toMatchObject([{ reason: 'QuestionUnknown' }, { reason: 'QuestionUnknown' }]);
    // The page of someone who comes later finds the answer beside its question.
    const again = house.chat('web', chat.chat);
    const shown = await until('the answer is shown', () => again.rows().find(({ content }) => 'answer' in (JSON.parse(content) as object)));
    expect(JSON.parse(shown.content)).toMatchObject({ text: label, answer: { questionSeq: seq, title: 'Colour', label } });
  },
  PATIENT_MS,
);

verifies(
  'tool/ask-user-question',
  'the wait ends, the turn says that it waits no longer, and the Pod sleeps; the answer wakes it, after a restart of everything too, in a turn of its own',
  async () => {
    const house = sleepy.it;
    const chat = house.chat();
    const { session, seq } = await ask(chat, IMPATIENT);
    expect(await chat.answer('done: ')).toContain('Nobody has answered yet');
    expect(turnsOf(house, session)).toMatchObject([{ state: 'done' }]);
    await until('the session sleeps', () => !house.runners().has(session));
    await house.restart();
    expect(await chat.press({ session, seq, option: 1 })).toMatchObject({ outcome: 'stored' });
    await chat.answer('You chose: Blue');
    const [answer] = answersIn(house, session);
    expect(turnsOf(house, session).at(-1)?.origin_seq).toBe(answer?.seq);
    expect(answersIn(house, session)).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'tool/ask-user-question',
  'a number or a label that is typed is the answer, a sentence is not and leaves the question open; who waits survives a restart',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    const { session } = await ask(chat);
    await house.restart();
    await chat.send('I wonder whether 2 is right');
    expect(answersIn(house, session)).toEqual([]);
    await chat.send(' bLUE ');
    expect(await chat.answer('done: ')).toContain('chose: Blue');
    expect(answersIn(house, session)).toHaveLength(1);
    await chat.ask('2', 'You said: 2');
    expect(answersIn(house, session)).toHaveLength(1);
    expect(house.files.written(session).filter(({ kind }) => kind === 'question')).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'tool/ask-user-question',
  'delivery is killed between storing an answer and saying so: the click that comes again is the same answer, and the agent hears it once',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    const { session, seq } = await ask(chat);
    await house.restart(['--crash-at', 'delivery/after-commit-before-answer']);
    const click = { id: randomUUID(), session, seq, option: 1 };
    await expect(chat.press(click)).rejects.toThrow();
    expect(await house.ended()).toBe('SIGKILL');
    expect(answersIn(house, session)).toHaveLength(1);
    await house.start();
    expect(await chat.press(click)).toMatchObject({ outcome: 'stored', label: 'Blue' });
    expect(await chat.press({ session, seq, option: 0 })).toMatchObject({ outcome: 'already-answered', label: 'Blue' });
    expect(await chat.answer('done: ')).toContain('chose: Blue');
    expect(answersIn(house, session)).toHaveLength(1);
    expect(chat.answers().filter((text) => text.includes('Blue'))).toHaveLength(1);
  },
  PATIENT_MS,
);
