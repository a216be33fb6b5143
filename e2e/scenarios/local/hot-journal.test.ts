import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { kill, NODE } from '../../harness/local-mode.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

/** Writes so much in one transaction that SQLite must put pages into the file before the commit, then waits to be killed. */
const HALF_A_TRANSACTION = `
  import Sqlite from 'better-sqlite3';
  const db = new Sqlite(process.argv[1]);
  db.pragma('journal_mode = PERSIST');
  db.pragma('synchronous = FULL');
  db.pragma('cache_size = 5');
  db.exec('BEGIN IMMEDIATE');
  for (let n = 0; n < 500; n += 1) db.prepare("INSERT INTO state (key, value, updated_at) VALUES (?, json_quote(?), 0)").run('half/' + n, 'x'.repeat(4000));
  console.log('half');
  setInterval(() => {}, 1000);
`;

verifies(
  'cell/hot-journal',
  'a runner killed in mid-transaction leaves a cell that the host reads and the next runner writes',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    await chat.ask('remember violet', 'violet');
    const session = await chat.session();
    await house.stop('SIGKILL'); // its runner is ended by the next start, as after a power cut
    for (const pid of house.runners().values()) kill(pid, 'SIGKILL');
    const outbound = join(house.files.paths(session).out, 'outbound.db');
    const writer = spawn(NODE, ['--input-type=module', '-e', HALF_A_TRANSACTION, outbound], {
      cwd: process.cwd(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => writer.stdout.once('data', resolve));
    writer.kill('SIGKILL');
    await new Promise((resolve) => writer.once('exit', resolve));
    expect(existsSync(`${outbound}-journal`)).toBe(true);
    await house.start();
    expect(await chat.ask('recall', 'I remember')).toBe('I remember: violet');
    expect(house.files.outbound(session, "SELECT key FROM state WHERE key LIKE 'half/%'")).toEqual([]);
    expect(house.files.integrity()).toBe('ok');
    await until('everything is done', () => house.files.messages(session).every(({ status }) => status === 'done'));
  },
  PATIENT_MS,
);
