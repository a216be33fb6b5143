import { expect } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const demo = localStage();

verifies(
  'turn/transient-errors',
  'limits, overload and a broken line are tried again with backoff while people see that work goes on; they see the answer and no error',
  async () => {
    const chat = demo.it.chat();
    const answer = await chat.ask('fail 429 retry-after 1s\nfail 529\nfail network\nsay through', 'through');
    expect(answer).toBe('through');
    expect(chat.answers()).toEqual(['through']);
    expect(chat.activities).toContain('Thinking');
    const [ack] = demo.it.files.acks(await chat.session());
    expect(ack).toMatchObject({ state: 'done', tries: 1 });
  },
  PATIENT_MS,
);

verifies(
  'turn/poison-message',
  'a message that kills its runner each time is set aside after its fifth try: people are told, it is listed, and later messages go on',
  async () => {
    const house = demo.it;
    const { files } = house;
    const chat = house.chat();
    await chat.send('crash always');
    const session = await chat.session();
    await until('it has killed two runners', () => (files.acks(session)[0]?.tries ?? 0) >= 2);
    // The waits between the other three are minutes: they are told in the runner's own tests.
    await house.stop();
    const db = new Sqlite(`${files.paths(session).out}/outbound.db`, { timeout: 5_000 });
    db.exec("UPDATE acks SET tries = 5, state = 'processing'");
    db.close();
    await house.start();
    await chat.answer('could not work on your message');
    await chat.ask('say the next one', 'the next one');
    const { stdout } = await house.command('dead-letters', 'list', '--output', 'json');
    expect(JSON.parse(stdout)).toMatchObject([{ direction: 'in', attempts: 5 }]);
    expect(files.messages(session).find(({ kind }) => kind === 'system')?.content).toContain('set aside');
  },
  PATIENT_MS,
);
