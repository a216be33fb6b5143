import { join } from 'node:path';
import { expect } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

function setVersion(file: string, change: (version: number) => number, sql = ''): void {
  const db = new Sqlite(file);
  db.exec(sql);
  db.pragma(`user_version = ${change(Number(db.pragma('user_version', { simple: true })))}`);
  db.close();
}

verifies(
  'cell/schema-skew',
  'files of the next version (after a roll-back) are worked with by both sides; two versions ahead is refused, and harms that session alone',
  async () => {
    const house = stage.it;
    const [next, far] = [house.chat(), house.chat()];
    await Promise.all([next.ask('remember one', 'one'), far.ask('remember two', 'two')]);
    const [nextSession, farSession] = [await next.session(), await far.session()];
    await house.stop();
    // What an additive migration of a newer version would have left.
    const inbound = (session: string): string => join(house.files.paths(session).in, 'inbound.db');
    const outbound = (session: string): string => join(house.files.paths(session).out, 'outbound.db');
    setVersion(inbound(nextSession), (v) => v + 1, 'ALTER TABLE messages_in ADD COLUMN from_the_future TEXT; CREATE TABLE tomorrow (x)');
    // Of outbound.db the host compares every table it knows: a newer version may only add tables.
    setVersion(outbound(nextSession), (v) => v + 1, 'CREATE TABLE tomorrow (x)');
    setVersion(outbound(farSession), (v) => v + 2);
    await house.start();
    expect(await next.ask('recall', 'I remember')).toBe('I remember: one');
    await far.send('recall').catch(() => undefined);
    await until('the refusal is recorded', () => house.complaints(/version|schema/i).length > 0);
    await next.ask('say still here', 'still here');
    expect(far.answers()).not.toContain('I remember: two');
  },
  PATIENT_MS,
);
