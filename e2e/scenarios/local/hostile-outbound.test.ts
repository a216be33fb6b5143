import { execFileSync } from 'node:child_process';
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import type { LocalChat } from '../../harness/local-mode.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

/** What an agent can put in place of its file. Each gets the path of outbound.db and that of a neighbour's. */
const ATTACKS: Readonly<Record<string, (file: string, neighbour: string) => void>> = {
  'a link to a neighbour': (file, neighbour) => {
    rmSync(file);
    symlinkSync(neighbour, file);
  },
  'no database at all': (file) => writeFileSync(file, 'x'.repeat(10_000)),
  'a pipe that nobody writes': (file) => {
    rmSync(file);
    execFileSync('mkfifo', [file]);
  },
  'a view instead of the table': (file) => {
    const db = new Sqlite(file);
    db.pragma('legacy_alter_table = ON');
    db.exec('ALTER TABLE messages_out RENAME TO mine');
    db.exec(
      `CREATE VIEW messages_out AS WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 2 FROM n)
       SELECT x AS seq, 'id' || x AS id, 'chat' AS kind, NULL AS destination, 2 AS in_reply_to, '{"text":"flood"}' AS content, 0 AS deliver_after, 0 AS created_at FROM n`,
    );
    db.close();
  },
  'rows as large as a house': (file) => {
    const db = new Sqlite(file);
    db.prepare(
      `INSERT INTO messages_out (seq, id, kind, content, created_at) VALUES (1000001, 'huge', 'chat', json_object('text', ?), 0)`,
    ).run('x'.repeat(40_000_000));
    db.close();
  },
  'a file of another kind, truncated': (file) => {
    renameSync(file, `${file}.old`);
    writeFileSync(file, Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(84, 0xff)]));
  },
};

verifies(
  'cell/hostile-outbound',
  'whatever an agent puts in place of its outbound.db harms its own session only: others are answered, the process lives',
  async () => {
    const house = stage.it;
    const good = house.chat();
    await good.ask('say first', 'first');
    const neighbour = join(house.files.paths(await good.session()).out, 'outbound.db');
    const before = house.files.written(await good.session()).length;
    const bad: LocalChat[] = [];
    for (const [name, attack] of Object.entries(ATTACKS)) {
      const chat = house.chat('web', name.replaceAll(' ', '-'));
      bad.push(chat);
      await chat.ask('say innocent', 'innocent');
      attack(join(house.files.paths(await chat.session()).out, 'outbound.db'), neighbour);
      await chat.send('say one more').catch(() => undefined);
      await good.ask(`say still fine after ${name}`, `still fine after ${name}`);
    }
    expect(house.alive).toBe(true);
    await until('at least one refusal is reported', () => house.complaints(/outbound\.db|hostile|Hostile/).length > 0);
    for (const chat of bad) expect(chat.answers().filter((text) => text === 'flood' || text.length > 1_000_000)).toEqual([]);
    // Nobody else's words came out of the link.
    expect(bad[0]?.answers().some((text) => text.startsWith('still fine'))).toBe(false);
    expect(house.files.written(await good.session()).length).toBe(before + Object.keys(ATTACKS).length);
    await house.restart();
    await good.ask('say after the restart', 'after the restart');
  },
  PATIENT_MS,
);
