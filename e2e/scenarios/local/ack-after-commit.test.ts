import { expect } from '@jest/globals';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const stage = slackStage();

verifies(
  'cell/ack-after-commit',
  'a platform hears 200 only when the row is durable: killed on either side of the commit and of the answer, nothing acknowledged is missing',
  async () => {
    const scene = stage.it;
    const { files } = scene.house;
    const stored = (): string[] => files.sessions().flatMap((session) => files.messages(session).map(({ content }) => content));
    for (const [point, durable] of [
      ['gateway/before-enqueue', false],
      ['delivery/before-commit', false],
      ['delivery/after-commit-before-answer', true],
      ['gateway/after-enqueue-before-ack', true],
    ] as const) {
      await scene.house.stop();
      await scene.begin(['--crash-at', point]);
      const text = `say ${point}`;
      const { body } = scene.event({ text });
      expect(await scene.post(body, scene.slack.signature(body)).catch(() => 'no answer')).not.toBe(200);
      expect(await scene.house.ended()).toBe('SIGKILL');
      expect(stored().some((content) => content.includes(text))).toBe(durable);
      // Slack was not answered, so it comes again.
      await scene.begin();
      expect(await scene.insist(body)).toBe(200);
      expect(stored().filter((content) => content.includes(text))).toHaveLength(1);
    }
  },
  PATIENT_MS,
);
