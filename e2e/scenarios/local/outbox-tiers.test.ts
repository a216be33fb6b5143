import { existsSync } from 'node:fs';
import { expect } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { LocalMode } from '../../harness/local-mode.ts';
import { webAgent } from '../../harness/objects.ts';
import { acceptEverything } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage, stage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const house = (delivery: object) =>
  stage(() => LocalMode.start({ manifests: webAgent({ idleTimeout: '1s' }), flags: ['--limits', JSON.stringify({ delivery })] }));
const swept = house({ sweepMs: 1_500 });
const neverSwept = house({ sweepMs: 3_600_000 });
const limited = slackStage({ channel: { rateLimit: { perSecond: 2, burst: 2 } } });

/** Writes a row as a runner does, and rings no doorbell. */
function writer(file: string): (seq: number, text: string) => void {
  const db = new Sqlite(file, { timeout: 5_000 });
  const insert = db.prepare(
    "INSERT INTO messages_out (seq, id, kind, content, created_at) VALUES (?, ?, 'chat', json_object('text', ?), 0)",
  );
  return (seq, text) => void insert.run(seq, `outside/${seq}`, text);
}

verifies(
  'out/two-tier',
  'a row whose doorbell was lost is found by the poll while the session is awake, and by the sweep when it sleeps',
  async () => {
    const one = swept.it;
    const chat = one.chat();
    await chat.send('sleep 6s\nsay slow');
    const session = await chat.session();
    const runner = await one.runner(session);
    const file = `${one.files.paths(session).out}/outbound.db`;
    await until('the runner is at work', () => one.files.acks(session).length === 1);
    const write = writer(file);
    write(80_001, 'found by the poll');
    await chat.answer('found by the poll');
    expect(existsSync(`/proc/${runner}`)).toBe(true);
    await chat.answer('slow');
    await until('it sleeps', () => !existsSync(`/proc/${runner}`));
    write(90_001, 'found by the sweep');
    await chat.answer('found by the sweep');
    expect(one.runners().size).toBe(0);
  },
  PATIENT_MS,
);

verifies(
  'out/final-drain',
  'a row written as the Pod ends goes out when the Pod is gone, not at the next sweep, which is an hour away',
  async () => {
    const one = neverSwept.it;
    const chat = one.chat();
    // The moment between a process's end and the word that its Pod is gone is short: a test that comes late tries again.
    for (let attempt = 1; ; attempt += 1) {
      await chat.ask(`say awake ${attempt}`, `awake ${attempt}`);
      const session = await chat.session();
      const runner = await one.runner(session);
      const write = writer(`${one.files.paths(session).out}/outbound.db`);
      while (existsSync(`/proc/${runner}`)) await new Promise((resolve) => setTimeout(resolve, 1));
      write(70_001 + 2 * attempt, `last word ${attempt}`);
      const found = await chat.answer(`last word ${attempt}`, 15_000).catch(() => undefined);
      if (found !== undefined) break;
      expect(attempt).toBeLessThan(5);
    }
  },
  PATIENT_MS,
);

verifies(
  'out/rate-limits',
  'a Channel is called no faster than its bucket allows, and everything arrives',
  async () => {
    const scene = limited.it;
    const taken = acceptEverything(scene.mock);
    const before = Date.now();
    for (let n = 0; n < 8; n += 1) await scene.says({ chat: `C${n % 2}`, text: `tool send_message {"text":"n${n}"}` });
    const all = Array.from({ length: 8 }, (_, n) => `n${n}`);
    await until('all are there', () => all.every((word) => taken.some(({ text }) => text === word)));
    const at = scene.mock.callsOf('chat.postMessage').map((call) => call.at);
    // Against a moment before the first, not between two arrivals: one that arrives late would bring the next one nearer.
    at.forEach((ms, n) => {
      expect(ms - before).toBeGreaterThanOrEqual(((n - 1) / 2) * 1_000 - 50); // two at once, then two a second
    });
  },
  PATIENT_MS,
);
