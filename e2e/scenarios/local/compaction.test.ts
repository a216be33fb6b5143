import { expect } from '@jest/globals';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();
const NOTE = 'I have summed up the earlier part of our conversation';

verifies(
  'turn/compaction',
  'a conversation that outgrows its model is summed up once, with one note, and goes on knowing what was said; nothing leaves the history',
  async () => {
    const { files } = stage.it;
    const chat = stage.it.chat();
    await chat.ask('remember teal', 'teal');
    const session = await chat.session();
    for (const n of [1, 2, 3, 4]) {
      await chat.send(`say ${`long ${n} `.repeat(13_000)}`);
      await until(`turn ${n} is over`, () => files.history(session).length === 2 + 2 * n);
    }
    expect(await chat.ask('recall', 'I remember')).toBe('I remember: teal');
    expect(chat.answers().filter((text) => text.includes(NOTE))).toHaveLength(1);
    expect(files.history(session)).toHaveLength(12);
    const [cut] = files.outbound<{ value: string }>(session, "SELECT value FROM state WHERE key = 'transcript_from'");
    expect(Number(cut?.value)).toBeGreaterThan(2);
    // The next process goes on from the summary.
    await stage.it.restart();
    await chat.insist('recall');
    await until('it is answered', () => chat.answers().filter((text) => text === 'I remember: teal').length === 2);
  },
  PATIENT_MS,
);

verifies(
  'turn/compaction',
  '/compact sums up at once, also when nothing asks for it; with nothing said yet it says so',
  async () => {
    const chat = stage.it.chat();
    await chat.ask('/compact', 'nothing to sum up');
    await chat.ask('remember ochre', 'ochre');
    await chat.ask('/compact', NOTE);
    expect(await chat.ask('recall', 'I remember')).toBe('I remember: ochre');
  },
  PATIENT_MS,
);
