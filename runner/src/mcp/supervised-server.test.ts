import { realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, describe, expect, test } from '@jest/globals';
import { silentLog } from '../lifecycle/log.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { SupervisedServer } from './supervised-server.ts';
import { scripted } from './testing/test-servers.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** The processes are real, the waits between them are not. */
function failing(fraction: number): { server: SupervisedServer; clock: ManualClock; tries: () => number } {
  const clock = new ManualClock(1_000_000);
  const workspace = realpathSync(tmpdir());
  let tries = 0;
  const server = new SupervisedServer(scripted('poor', 'die-at-start'), {
    reach: {
      workspace,
      env: () => {
        tries += 1;
        return { PATH: process.env['PATH'] ?? '' };
      },
      proxy: undefined,
      version: '0.0.0',
    },
    clock,
    random: { fraction: () => fraction, id: (length) => 'x'.repeat(length) },
    log: silentLog,
    onChange: () => {},
  });
  closing.push(() => server.close());
  server.start();
  return { server, clock, tries: () => tries };
}

const backoffs = (clock: ManualClock): number[] => clock.slept.filter((ms) => ms >= 750 && ms !== 60_000 && ms !== 15_000);
async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('a server that fails at its start', () => {
  test('is tried again later each time, at most every five minutes, and not in step with others', async () => {
    const { clock, tries } = failing(0.5);
    for (let n = 1; n <= 11; n += 1) {
      await until(() => tries() === n && backoffs(clock).length === n);
      clock.advance(backoffs(clock).at(-1) ?? 0);
    }
    expect(backoffs(clock)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map((s) => s * 1000));
    const early = failing(0);
    await until(() => backoffs(early.clock).length === 1);
    expect(backoffs(early.clock)).toEqual([750]);
  });

  test('fails a call at once, with reason and time, when it will not be there soon', async () => {
    const { server, clock } = failing(0.5);
    for (let n = 1; n <= 5; n += 1) {
      await until(() => backoffs(clock).length === n);
      if (n < 5) clock.advance(backoffs(clock).at(-1) ?? 0);
    }
    const call = server.call({ tool: 'echo', args: {}, timeoutMs: 1_000, signal: new AbortController().signal, onProgress: () => {} });
    await expect(call).rejects.toThrow(
      'The MCP server poor ended with exit code 3 (its last words: no licence found). The call was not made. It is started again in 16 s.',
    );
  });
});
