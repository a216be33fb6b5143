/** What local mode can show: every role in one process, runners as processes of their own. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { demoAgent } from '../harness/objects.ts';
import { seeded } from '../harness/seeded.ts';
import { slackChats } from '../harness/slack-house.ts';
import { until } from '../harness/until.ts';
import { floor, floorOfMany } from './floor.ts';
import { percentile, type Result, summarise } from './sample.ts';
import { SlackShaped } from './slack-shaped.ts';

const random = seeded(42);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const SILENT = slackChats({ knownSenders: ['U1'] }, { engage: { mode: 'Mention' }, ignored: 'Accumulate' });

/** Houses and runners are started anew between blocks, and samples have random gaps: no phase of a poll can flatter the figures. */
export async function warmOverhead(blocks: number, samples: number): Promise<Result[]> {
  const slack = await SlackShaped.start();
  const overhead: number[] = [];
  const acknowledged: number[] = [];
  const bare: number[] = [];
  const gap = (): Promise<void> => pause(10 + random() * 490);
  for (let block = 0; block < blocks; block += 1) {
    const house = await slack.house({ ...demoAgent('helper'), ...slackChats() });
    await slack.connected(house);
    for (let n = 0; n < 5; n += 1) await slack.roundTrip(house, 'CWARM', `first-${block}-${n}.`);
    for (let n = 0; n < samples; n += 1) {
      await gap();
      const word = `w-${block}-${n}.`;
      const began = performance.now();
      acknowledged.push(await slack.say(house, 'CWARM', `say ${word}`));
      overhead.push((await slack.arrival(word)) - began);
    }
    await house.dispose();
    bare.push(...(await floor(samples, gap))); // between the blocks: what else the machine does meets both alike
  }
  await slack.close();
  return [
    summarise('warm: event sent to platform called', 'ms', overhead),
    summarise('warm: the same over four bare processes', 'ms', bare),
    summarise('warm: ratio of the two', 'ratio', [percentile(overhead, 0.5) / percentile(bare, 0.5)]),
    summarise('warm: event sent to acknowledged', 'ms', acknowledged),
  ];
}

export async function twentyChats(rounds: number): Promise<Result[]> {
  const gap = (): Promise<void> => pause(200 + random() * 1_300);
  const slack = await SlackShaped.start();
  const house = await slack.house({ ...demoAgent('helper', { limits: { maxAwake: 20 } }), ...slackChats() });
  await slack.connected(house);
  const chats = Array.from({ length: 20 }, (_, n) => `C${n}`);
  for (const chat of chats) await slack.roundTrip(house, chat, `first-${chat}.`);
  await pause(1_000);
  const last: number[] = [];
  const each: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await gap();
    const times = await Promise.all(chats.map((chat) => slack.roundTrip(house, chat, `r-${round}-${chat}.`)));
    each.push(...times);
    last.push(Math.max(...times));
  }
  const results = [
    summarise('20 warm chats at once: last reply', 'ms', last),
    summarise('20 warm chats at once: each reply', 'ms', each),
    summarise('memory of the process with 20 awake sessions', 'MiB', [rss(house.pid)]),
    summarise('memory of a runner', 'MiB', [...house.runners().values()].map(rss)),
  ];
  await house.dispose();
  await slack.close();
  const bare = await floorOfMany(20, rounds, gap);
  return [
    ...results,
    summarise('20 warm chats at once: last of them over bare processes', 'ms', bare),
    summarise('20 warm chats at once: ratio of the two', 'ratio', [percentile(last, 0.5) / percentile(bare, 0.5)]),
  ];
}

/**
 * 1,000 events over 100 chats: in each chat one after the other, as people write, and all at once, as after an outage. First to chats
 * that have no session yet. `wake`: each event calls the agent. The house has taken some hundred events before: what is measured is
 * a burst, not a process that has just begun.
 */
export async function burst(wake: boolean): Promise<Result[]> {
  const slack = await SlackShaped.start();
  // Awake sessions are runners on this same machine: with a few of them the figure is about taking events, not about starting Node.
  const house = await slack.house({ ...demoAgent('helper', { limits: { maxAwake: 2 } }), ...(wake ? slackChats() : SILENT) });
  await slack.connected(house);
  for (let n = 0; n < 300; n += 1) await slack.say(house, 'CFIRST', 'hello');
  const results: Result[] = [];
  for (const [round, atOnce] of [
    ['new', false],
    ['known', false],
    ['known, all at once', true],
  ] as const) {
    const began = performance.now();
    slack.refused = 0;
    const acknowledged: number[] = [];
    const word = round.replaceAll(/\W+/g, '-');
    await Promise.all(
      Array.from({ length: 100 }, async (_, chat) => {
        const one = async (n: number): Promise<void> => {
          acknowledged.push(await slack.say(house, `C${chat}`, `say ${word}/${n}.`));
        };
        if (atOnce) await Promise.all(Array.from({ length: 10 }, (_, n) => one(n)));
        else for (let n = 0; n < 10; n += 1) await one(n);
      }),
    );
    const seconds = (performance.now() - began) / 1000;
    const stored = house.files
      .sessions()
      .flatMap((session) => house.files.messages(session).filter(({ content }) => content.includes(`say ${word}/`)));
    if (stored.length !== 1_000) throw new Error(`1,000 events were acknowledged and ${stored.length} are stored`);
    const what = `1,000 events, 100 sessions${wake ? ' that wake' : ''} (${round})`;
    results.push(
      summarise(`${what}: acknowledged`, 'ms', acknowledged),
      summarise(`${what}: p95`, 'ms', [percentile(acknowledged, 0.95)]),
      summarise(`${what}: rate`, '1/s', [1_000 / seconds]),
      ...(slack.refused > 0 ? [summarise(`${what}: answered 503 and sent again`, 'events', [slack.refused])] : []),
    );
    await pause(3_000);
  }
  await house.dispose();
  await slack.close();
  return results;
}

export async function outboundRate(sessions: number, rows: number): Promise<Result[]> {
  const slack = await SlackShaped.start();
  const house = await slack.house({ ...demoAgent('helper'), ...slackChats() });
  await slack.connected(house);
  for (let n = 0; n < sessions; n += 1) await slack.roundTrip(house, `C${n}`, `first-${n}.`);
  const before = slack.posts;
  const began = performance.now();
  for (const session of house.files.sessions()) {
    const db = new Sqlite(join(house.files.paths(session).out, 'outbound.db'), { timeout: 5_000 });
    const insert = db.prepare(
      "INSERT INTO messages_out (seq, id, kind, content, created_at) VALUES (?, ?, 'chat', json_object('text', 'x'), 0)",
    );
    db.transaction(() => {
      for (let n = 0; n < rows; n += 1) insert.run(10_001 + 2 * n, `bench/${n}`);
    })();
    db.close();
  }
  await until('all are delivered', () => slack.posts - before === sessions * rows, 120_000);
  const seconds = (performance.now() - began) / 1000;
  await house.dispose();
  await slack.close();
  return [summarise(`outbound deliveries, ${sessions} chats`, '1/s', [(sessions * rows) / seconds])];
}

/** A message to a sleeping session until its answer, the start of a process included. */
export async function coldWake(samples: number): Promise<Result[]> {
  const slack = await SlackShaped.start();
  const house = await slack.house({ ...demoAgent('helper', { idleTimeout: '1s' }), ...slackChats() });
  await slack.connected(house);
  const times: number[] = [];
  for (let n = 0; n < samples; n += 1) {
    times.push(await slack.roundTrip(house, 'CCOLD', `cold-${n}.`));
    await until('it sleeps', () => house.runners().size === 0);
    await pause(100 + random() * 900);
  }
  await house.dispose();
  await slack.close();
  return [summarise('cold: event sent to platform called (local process)', 'ms', times)];
}

/** With the gaps that messages have: a disk that rests in between takes longer than one that is kept busy. */
export async function commits(samples: number): Promise<Result[]> {
  const results: Result[] = [];
  for (const [journal, synchronous] of [
    ['DELETE', 'EXTRA'],
    ['DELETE', 'FULL'],
    ['TRUNCATE', 'FULL'],
    ['PERSIST', 'FULL'],
  ] as const) {
    for (const gap of [0, 50]) {
      const folder = mkdtempSync(join(tmpdir(), 'dovecote-commits-'));
      const db = new Sqlite(join(folder, 'x.db'));
      db.pragma(`journal_mode = ${journal}`);
      db.pragma(`synchronous = ${synchronous}`);
      db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, content TEXT)');
      const insert = db.prepare('INSERT INTO t (content) VALUES (?)');
      const times: number[] = [];
      for (let n = 0; n < samples; n += 1) {
        if (gap > 0) await pause(gap * (0.5 + random()));
        const began = performance.now();
        insert.run('x'.repeat(500));
        times.push(performance.now() - began);
      }
      db.close();
      rmSync(folder, { recursive: true, force: true });
      results.push(summarise(`commit, ${journal} + ${synchronous}${gap > 0 ? `, ${gap} ms apart` : ', one after the other'}`, 'ms', times));
    }
  }
  return results;
}

function rss(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}
