import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { webAgent } from '../../harness/objects.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

/** Sessions there fall asleep at once. */
const sleepy = localStage({ manifests: webAgent({ idleTimeout: '1s' }) });

verifies(
  'tool/files-and-shell',
  'a background job with a deadline keeps its idle session awake until it ends; one without ends with the sleep, and the agent is told at its next turn',
  async () => {
    const house = sleepy.it;
    const [working, other] = [house.chat(), house.chat()];
    const job = (command: string, more: object = {}): string => `tool exec ${JSON.stringify({ command, background: true, ...more })}`;
    await working.ask(
      `${job('while [ ! -e go ]; do sleep 0.1; done; echo done > result', { timeout_seconds: 600 })}\nsay working`,
      'working',
    );
    const session = await working.session();
    const pid = await house.runner(session);
    // Another one that is idle for no longer has fallen asleep by then, twice, with what it ran.
    const idle = await other.ask(`${job('sleep 1000 # lost')}\nsay idle`, 'idle').then(() => other.session());
    await until('the other sleeps', () => !house.runners().has(idle));
    await other.ask('say again', 'again');
    await until('the other sleeps again', () => !house.runners().has(idle));
    expect(house.runners().get(session)).toBe(pid);
    writeFileSync(join(house.files.paths(session).workspace, 'go'), '');
    await until('it sleeps when its job is done', () => !house.runners().has(session));
    expect(readFileSync(join(house.files.paths(session).workspace, 'result'), 'utf8')).toBe('done\n');
    const told = house.files.history(idle).filter(({ content }) => content.includes('was ended before it was done'));
    expect(told).toMatchObject([{ role: 'user', content: expect.stringContaining('(sleep 1000 # lost)') }]);
    expect(house.files.history(session).some(({ content }) => content.includes('was ended before it was done'))).toBe(false);
  },
  PATIENT_MS,
);
