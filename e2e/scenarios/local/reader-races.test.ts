import { join } from 'node:path';
import { expect } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage({ flags: ['--limits', JSON.stringify({ delivery: { pollMs: 20, sweepMs: 100 } })] });

verifies(
  'cell/reader-races',
  'reads that meet a writer are tried again quietly: polls and sweeps go on, and nothing is late for good',
  async () => {
    const house = stage.it;
    const chats = [1, 2, 3].map(() => house.chat());
    const steps = Array.from({ length: 15 }, (_, n) => `tool send_message {"text":"step ${n}"}`).join('\n');
    await Promise.all(chats.map((chat) => chat.send(`${steps}\nsay finished`)));
    // Somebody who holds the runner's file for a while, so that reads and the runner itself find it busy.
    const [first] = chats;
    const session = (await first?.session()) ?? '';
    const file = join(house.files.paths(session).out, 'outbound.db');
    await until('the file is there', () => house.files.written(session).length > 0);
    const holder = new Sqlite(file, { timeout: 5_000 });
    for (let time = 0; time < 5; time += 1) {
      holder.exec('BEGIN EXCLUSIVE');
      await new Promise((resolve) => setTimeout(resolve, 100));
      holder.exec('COMMIT');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    holder.close();
    await Promise.all(chats.map((chat) => chat.answer('finished')));
    for (const chat of chats) {
      const said = chat.answers();
      expect(said.filter((text) => text.startsWith('step'))).toEqual(Array.from({ length: 15 }, (_, n) => `step ${n}`));
    }
    expect(house.complaints(/sweep failed|could not be read|SQLITE_/)).toEqual([]);
  },
  PATIENT_MS,
);
