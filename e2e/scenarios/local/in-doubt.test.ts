import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const QUICK = ['--limits', JSON.stringify({ outbox: { backoff: { baseMs: 100, maxMs: 500 } } })];
const slack = slackStage({ flags: QUICK });

verifies(
  'out/in-doubt',
  'killed anywhere between the intent to send and its record, the message is there once: Slack itself is asked',
  async () => {
    const scene = slack.it;
    const { house } = scene;
    const sent = async (text: string): Promise<number> => (await scene.slack.inChat()).filter((message) => message.text === text).length;
    for (const [point, there] of [
      ['delivery/after-read-before-sending', 0],
      ['delivery/after-sending-before-call', 0],
      ['gateway/before-platform-call', 0],
      ['gateway/after-platform-call', 1],
      ['delivery/after-call-before-record', 1],
    ] as const) {
      await house.stop();
      await scene.begin(['--crash-at', point]);
      await scene.says({ text: `say ${point}` });
      expect(await house.ended()).toBe('SIGKILL');
      expect(await sent(point)).toBe(there);
      await scene.begin();
      await until(
        `the ledger is settled after ${point}`,
        () =>
          house.files.ledger(house.files.sessions()[0] ?? '').every(({ state }) => state === 'delivered') &&
          house.files.messages(house.files.sessions()[0] ?? '').every(({ status }) => status === 'done'),
        60_000,
      );
      expect(await sent(point)).toBe(1);
    }
  },
  PATIENT_MS * 2,
);

verifies(
  'out/in-doubt',
  'an answer that gets lost behind a message that went out is settled the same way',
  async () => {
    const scene = slack.it;
    scene.failNext({ type: 'lose-answer' });
    await scene.says({ text: 'say answer lost' });
    await until('it is settled', async () => {
      const rows = scene.house.files.ledger(scene.house.files.sessions()[0] ?? '');
      return rows.length >= 6 && rows.every(({ state }) => state === 'delivered');
    });
    expect((await scene.slack.inChat()).filter(({ text }) => text === 'answer lost')).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'out/files-after-record',
  'an outbox file stays until its delivery is recorded, and goes then, also when the process is killed right between',
  async () => {
    const scene = slack.it; // the built-in chat keeps what it was sent
    const { house } = scene;
    for (const point of ['delivery/after-call-before-record', 'delivery/after-record-before-cleanup'] as const) {
      await house.stop();
      await scene.begin(['--crash-at', point]);
      const name = `${point.slice(9, 21)}.txt`;
      const script = `tool write_file {"path":"${name}","content":"kept"}\ntool send_file {"path":"${name}"}\nsay done with ${name}`;
      await scene.says({ text: script }).catch(() => undefined);
      expect(await house.ended()).toBe('SIGKILL');
      const session = house.files.sessions()[0] ?? '';
      const outbox = join(house.files.paths(session).out, 'outbox');
      const files = (): string[] =>
        existsSync(outbox)
          ? readdirSync(outbox, { recursive: true })
              .map(String)
              .filter((file) => file.endsWith(name))
          : [];
      expect(files()).toHaveLength(1);
      const seq = Number.parseInt(files()[0] ?? '', 10);
      const state = (): string | undefined => house.files.ledger(session).find((row) => row.seq === seq)?.state;
      expect(state()).toBe(point.includes('after-record') ? 'delivered' : 'sending');
      await scene.begin();
      await until('the answer', async () => (await scene.slack.inChat()).some(({ text }) => text === `done with ${name}`));
      await until('the file is gone', () => files().length === 0);
      expect(state()).toBe('delivered');
    }
  },
  PATIENT_MS,
);
