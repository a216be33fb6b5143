import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

verifies(
  'cell/heartbeat-file',
  'the heartbeat goes on by a timer while nothing happens, and no database is written for it',
  async () => {
    const chat = stage.it.chat();
    await chat.ask('say hi', 'hi');
    const { out } = stage.it.files.paths(await chat.session());
    const beat = (): number => statSync(join(out, 'heartbeat')).mtimeMs;
    const [first, written] = [beat(), statSync(join(out, 'outbound.db')).mtimeMs];
    await until('the heartbeat was touched again', () => beat() > first);
    expect(statSync(join(out, 'outbound.db')).mtimeMs).toBe(written);
  },
  PATIENT_MS,
);
