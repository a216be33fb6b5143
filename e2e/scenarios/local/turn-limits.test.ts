import { expect } from '@jest/globals';
import { webAgent } from '../../harness/objects.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage({
  manifests: webAgent({ limits: { maxSteps: 8, noProgressTimeout: '3s' } }),
  // The waits between the tries of a message that ends its process are minutes otherwise.
  flags: ['--limits', JSON.stringify({ runner: ['--retry-ms', '20'] })],
});

verifies(
  'turn/stop',
  '/stop ends the turn that runs, its tool too, and says so; with nothing to stop it says that; no model reads it, and other words with a slash are messages',
  async () => {
    const { files } = stage.it;
    const chat = stage.it.chat();
    await chat.send('tool exec {"command":"echo $$ > pid; touch started; sleep 300"}\nsay never');
    const session = await chat.session();
    const runs = (): boolean => files.history(session).length === 2;
    await until('the tool runs', runs);
    await chat.send('say the message behind it');
    await chat.send(' /stop ');
    await chat.answer('Stopped.');
    await chat.answer('the message behind it');
    expect(await chat.ask('/stop', 'Nothing is running.')).toBe('Nothing is running.');
    expect(await chat.ask('/stop the music', '/stop the music')).toContain('You said: /stop the music');
    expect(chat.answers().join()).not.toContain('never');
    const control = files.messages(session).filter(({ lane }) => lane === 'control');
    expect(control.map(({ status }) => status)).toEqual(['done', 'done']);
    const read = new Set(files.history(session).map(({ in_seq }) => in_seq));
    expect(control.some(({ seq }) => read.has(seq))).toBe(false);
    const [turn] = files.outbound<{ state: string }>(session, 'SELECT state FROM turns ORDER BY started_at');
    expect(turn?.state).toBe('stopped');
  },
  PATIENT_MS,
);

verifies(
  'turn/limits',
  'the same text three times, the same call five times, or too many steps end a turn with a sentence; the next message is answered',
  async () => {
    const chat = stage.it.chat();
    await chat.send(['.', '/workspace', './'].map((path) => `say again\ntool list_dir {"path":"${path}"}`).join('\n'));
    await chat.answer('I kept repeating myself');
    await chat.send('tool list_dir {"path":"."}\n'.repeat(7));
    await chat.answer('used the tool list_dir 5 times');
    await chat.send(Array.from({ length: 12 }, (_, n) => `tool glob {"pattern":"${n}"}`).join('\n'));
    await chat.answer('stopped after 8 steps');
    await chat.ask('say still here', 'still here');
    const session = await chat.session();
    expect(stage.it.files.acks(session).map(({ state, tries }) => [state, tries])).toEqual(Array(4).fill(['done', 1]));
  },
  PATIENT_MS,
);

verifies(
  'turn/hang-detected',
  'a model call without a sign of life is cancelled and asked again; one that is slow but alive, and a tool that said how long it takes, are not',
  async () => {
    const [hung, slow, tool] = [stage.it.chat(), stage.it.chat(), stage.it.chat()];
    // Each takes several times as long as a silent call may; a cancelled one would begin anew, without end.
    await Promise.all([
      hung.ask('hang\nsay came back', 'came back'),
      slow.ask('sleep 8s\nsay slow', 'slow'),
      tool.ask('tool exec {"command":"sleep 7; echo once >> runs; cat runs","timeout_seconds":60}\nsay ran: {result}', 'ran:'),
    ]);
    expect(tool.answers()).toEqual([expect.stringMatching(/^ran: once\s*$/)]);
    for (const chat of [hung, slow, tool]) {
      const session = await chat.session();
      expect(chat.answers()).toHaveLength(1);
      expect(stage.it.files.acks(session)).toMatchObject([{ state: 'done', tries: 1 }]);
    }
  },
  PATIENT_MS,
);

verifies(
  'turn/poison-message',
  'a message that kills its runner each time is set aside after its fifth try: people are told, it is listed, and later messages go on',
  async () => {
    const house = stage.it;
    const { files } = house;
    const chat = house.chat();
    await chat.send('crash always');
    const session = await chat.session();
    await until('it has killed two runners', () => (files.acks(session)[0]?.tries ?? 0) >= 2);
    await chat.send('say the next one');
    await chat.answer('could not work on your message');
    await chat.answer('the next one');
    expect(files.acks(session)[0]).toMatchObject({ state: 'failed', tries: 5 });
    const { stdout } = await house.command('dead-letters', 'list', '--output', 'json');
    expect(JSON.parse(stdout)).toMatchObject([{ direction: 'in', attempts: 5 }]);
    expect(files.messages(session).find(({ kind }) => kind === 'system')?.content).toContain('set aside');
  },
  PATIENT_MS,
);
