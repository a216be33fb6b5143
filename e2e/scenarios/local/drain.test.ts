import { expect } from '@jest/globals';
import { webAgent } from '../../harness/objects.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage({
  manifests: webAgent({ idleTimeout: '1s' }),
  flags: ['--limits', JSON.stringify({ delivery: { pollMs: 200 } })],
});

verifies(
  'turn/drain',
  'ended in mid-turn the runner keeps what it has, and the next one finishes the turn: one answer, no step twice',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    await chat.send(
      'tool exec {"command":"echo one >> steps"}\ntool exec {"command":"sleep 1; echo two >> steps"}\ntool exec {"command":"cat steps"}\nsay steps: {result}',
    );
    const session = await chat.session();
    await until('the first step is done', () => house.files.history(session).some(({ role }) => role === 'tool'));
    expect(await house.stop('SIGTERM')).toBe(0);
    expect(house.runners().size).toBe(0);
    await house.start();
    expect(await chat.answer('steps:')).toMatch(/steps:.*one\s+two/s);
    expect(chat.answers()).toHaveLength(1);
    expect((await chat.answer('steps:')).match(/one/g)).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'turn/drain',
  'an idle session drains and sleeps without a process; a message wakes it and the conversation goes on',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    await chat.ask('remember sleep', 'sleep');
    const session = await chat.session();
    await until('its runner is gone', () => !house.runners().has(session));
    await until('it is asleep', async () => {
      const { sessions } = await house.json<{ sessions: { session: string; state: string }[] }>('/api/sessions');
      return sessions.find((one) => one.session === session)?.state === 'Asleep';
    });
    expect(await chat.ask('recall', 'I remember')).toBe('I remember: sleep');
    expect(house.complaints(/exitCode/)).toEqual([]);
  },
  PATIENT_MS,
);
