import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

verifies(
  'turn/fifo',
  'a burst of 200 messages is read in order, each once, and answered in order',
  async () => {
    const chat = stage.it.chat();
    for (let n = 1; n <= 200; n += 1) await chat.send(`say number ${n}.`);
    await chat.answer('number 200.');
    const answered = [
      ...chat
        .answers()
        .join('\n')
        .matchAll(/number (\d+)\./g),
    ].map((match) => Number(match[1]));
    expect(answered).toEqual(Array.from({ length: 200 }, (_, n) => n + 1));
    const session = await chat.session();
    const read = stage.it.files.history(session).flatMap(({ in_seq }) => (in_seq === null ? [] : [in_seq]));
    expect(read).toEqual(stage.it.files.messages(session).map(({ seq }) => seq));
  },
  PATIENT_MS,
);

verifies(
  'turn/mid-turn-messages',
  'a message that arrives during a turn joins it between steps, and is done only with the step that read it',
  async () => {
    const { files } = stage.it;
    const chat = stage.it.chat();
    await chat.send('tool exec {"command":"touch started; while [ ! -e go ]; do sleep 0.02; done"}\nsay first done');
    const session = await chat.session();
    const { workspace } = files.paths(session);
    await until('the tool runs', () => files.history(session).length >= 2);
    await chat.send('say second too');
    await until('the second is stored', () => files.messages(session).length === 2);
    expect(files.acks(session)).toHaveLength(1);
    writeFileSync(join(workspace, 'go'), '');
    await chat.answer('second too');
    const acks = files.acks(session);
    expect(acks.map(({ state }) => state)).toEqual(['done', 'done']);
    expect(new Set(acks.map(({ turn_id }) => turn_id)).size).toBe(1);
    expect(chat.answers()).toEqual(['first done\nsecond too']);
  },
  PATIENT_MS,
);
