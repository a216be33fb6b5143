import { expect } from '@jest/globals';
import { acceptEverything } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = slackStage({ flags: ['--limits', JSON.stringify({ outbox: { backoff: { baseMs: 200, maxMs: 1_500 } } })] });

verifies(
  'out/order',
  'a chat that fails keeps its order and holds up nobody else',
  async () => {
    const scene = stage.it;
    let broken = true;
    const taken = acceptEverything(scene.mock, ({ channel }) => (broken && channel === 'CBAD' ? 'service_unavailable' : undefined));
    const inOrder = ['one', 'two', 'three'].map((word) => `tool send_message {"text":"${word}"}`).join('\n');
    await scene.says({ chat: 'CBAD', text: `${inOrder}\nsay four` });
    await scene.says({ chat: 'CGOOD', text: `${inOrder}\nsay four` });
    const of = (chat: string): string[] => taken.filter(({ channel }) => channel === chat).map(({ text }) => text);
    await until('the good chat has all', () => of('CGOOD').length === 4);
    await until('the bad one was tried again', () => scene.posted().filter(({ channel }) => channel === 'CBAD').length >= 2);
    // Behind a row that fails nothing of the same chat is tried.
    expect(
      new Set(
        scene
          .posted()
          .filter(({ channel }) => channel === 'CBAD')
          .map(({ text }) => text),
      ),
    ).toEqual(new Set(['one']));
    broken = false;
    await until('the bad chat has all', () => of('CBAD').length === 4);
    expect(of('CBAD')).toEqual(['one', 'two', 'three', 'four']);
    expect(of('CGOOD')).toEqual(['one', 'two', 'three', 'four']);
  },
  PATIENT_MS,
);

verifies(
  'out/ledger',
  'attempts, the next attempt, the error and the key are rows: killed and started again, nothing begins anew',
  async () => {
    const scene = stage.it;
    const { house } = scene;
    let broken = true;
    const taken = acceptEverything(scene.mock, ({ channel }) => (broken && channel === 'CLEDGER' ? 'service_unavailable' : undefined));
    await scene.says({ chat: 'CLEDGER', text: 'say durable' });
    const session = await until('it has a session', () => house.files.find('team/CLEDGER'));
    const row = () => house.files.ledger(session)[0];
    await until('it failed three times', () => (row()?.attempts ?? 0) >= 3 && row()?.state === 'failed');
    await house.stop('SIGKILL');
    const before = row();
    expect(before).toMatchObject({
      state: 'failed',
      last_error: expect.stringContaining('service_unavailable'),
      idempotency_key: expect.stringContaining(session),
    });
    expect(before?.next_attempt_at).toBeGreaterThan(before?.updated_at ?? 0);
    const calls = scene.posted().length;
    await scene.begin();
    await until('it is tried again', () => scene.posted().length > calls);
    broken = false;
    await until('it is delivered', () => row()?.state === 'delivered');
    expect(row()?.attempts).toBeGreaterThan(before?.attempts ?? 0);
    expect(row()?.idempotency_key).toBe(before?.idempotency_key);
    expect(taken.filter(({ channel }) => channel === 'CLEDGER')).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'out/dead-letter',
  'what the platform refuses for good is set aside: people and the agent are told, it is listed, and a retry sends it',
  async () => {
    const scene = stage.it;
    const { house } = scene;
    let refused = true;
    const taken = acceptEverything(scene.mock, ({ text }) => (refused && text.includes('refuse me') ? 'msg_too_long' : undefined));
    await scene.says({ chat: 'CDEAD', text: 'say refuse me' });
    const told = await until('people are told', () => taken.find(({ channel }) => channel === 'CDEAD'));
    expect(told.text).toMatch(/^A message could not be delivered here: /);
    const session = house.files.find('team/CDEAD') ?? '';
    await until('the agent is told', () =>
      house.files.messages(session).find(({ kind, content }) => kind === 'system' && content.includes('could not be delivered')),
    );
    const { stdout } = await house.command('dead-letters', 'list', '--output', 'json');
    const [letter] = JSON.parse(stdout) as { id: string; direction: string; lastError: string }[];
    expect(letter).toMatchObject({ direction: 'out', lastError: expect.stringContaining('msg_too_long') });
    refused = false;
    expect(await house.command('dead-letters', 'retry', letter?.id ?? '')).toMatchObject({ code: 0 });
    await until('it arrives', () => taken.find(({ text }) => text.includes('refuse me')));
    expect((await house.command('dead-letters', 'list', '--output', 'json')).stdout.trim()).toBe('[]');
    expect((await house.command('dead-letters', 'retry', 'nobody/1')).code).toBe(1);
  },
  PATIENT_MS,
);

verifies(
  'out/dead-letter',
  'what stays undeliverable until it is too old is set aside as well',
  async () => {
    const scene = stage.it;
    const { house } = scene;
    acceptEverything(scene.mock, ({ channel }) => (channel === 'COLD' ? 'service_unavailable' : undefined));
    await house.stop();
    await scene.begin(['--limits', JSON.stringify({ outbox: { maxAgeMs: 1_000, backoff: { baseMs: 200, maxMs: 1_500 } } })]);
    await scene.says({ chat: 'COLD', text: 'say too late' });
    const session = await until('it has a session', () => house.files.find('team/COLD'));
    await until('it is dead', () => house.files.ledger(session).find(({ seq, state }) => seq % 2 === 1 && state === 'dead'));
    expect(house.files.ledger(session)[0]?.attempts).toBeGreaterThanOrEqual(1);
  },
  PATIENT_MS,
);
