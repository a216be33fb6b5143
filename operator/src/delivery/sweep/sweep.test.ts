import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { agentGroups, sessions } from '../../kube/resource-types.ts';
import { STORAGE_ANNOTATION } from '../session-object.ts';
import { type Bench, createBench, until } from '../testing/delivery-bench.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await createBench({ limits: { sweepMs: 100 } });
  await bench.agent('helper');
});
afterEach(() => bench.close());

describe('the sweep', () => {
  test('a cell whose Session was deleted by hand gets it back, with nothing overwritten', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(() => bench.delivered.length === 1);
    const before = await bench.session(session);
    await bench.store.delete(sessions, session);
    await until(async () => (await bench.session(session)) !== undefined, 'the adoption');
    const after = await bench.session(session);
    expect(after?.spec).toEqual({ ...before?.spec, awake: false });
    expect(after?.metadata.uid).not.toBe(before?.metadata.uid);
    expect((await bench.enqueue({ eventId: 'e1' })).outcome).toBe(2);
  });

  test('a Session whose cell is gone says so, refuses messages, and begins anew only when it is deleted', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(() => bench.delivered.length === 1);
    await bench.stop();
    renameSync(join(bench.root, 'cells', session), join(bench.root, 'lost'));
    await bench.restart();
    await until(
      async () => (await bench.session(session))?.metadata.annotations?.[STORAGE_ANNOTATION]?.includes('CellMissing') === true,
      'the report',
    );
    await expect(bench.enqueue({ eventId: 'e2' })).rejects.toThrow('FAILED_PRECONDITION');
    expect(existsSync(join(bench.root, 'cells', session))).toBe(false);
    await until(async () => (await bench.session(session))?.spec.awake === false, 'the end of its Pod');
    await bench.store.delete(sessions, session);
    await until(async () => (await bench.enqueue({ eventId: 'e3' }).catch(() => undefined))?.outcome === 1, 'a new beginning');
  });

  test('so does one that lost its cell under a delivery that runs, and what comes then is not written into a file that is gone', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(() => bench.delivered.length === 1);
    renameSync(join(bench.root, 'cells', session), join(bench.root, 'lost'));
    await until(
      async () => (await bench.session(session))?.metadata.annotations?.[STORAGE_ANNOTATION]?.includes('CellMissing') === true,
      'the report',
    );
    await until(async () => (await bench.session(session))?.spec.awake === false, 'the end of its Pod');
    await bench.store.delete(sessions, session);
    await until(async () => (await bench.enqueue({ eventId: 'e2' }).catch(() => undefined))?.outcome === 1, 'a new beginning');
    expect(existsSync(join(bench.root, 'cells', session, 'in', 'inbound.db'))).toBe(true);
    await until(() => bench.delivered.length === 2, 'the answer');
  });

  test('a cell that comes back is no longer reported', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(() => bench.delivered.length === 1);
    await bench.stop();
    renameSync(join(bench.root, 'cells', session), join(bench.root, 'lost'));
    await bench.restart();
    const annotation = async () => (await bench.session(session))?.metadata.annotations?.[STORAGE_ANNOTATION];
    await until(async () => (await annotation())?.includes('CellMissing') === true);
    renameSync(join(bench.root, 'lost'), join(bench.root, 'cells', session));
    await until(async () => (await annotation())?.includes('Writable') === true, 'the end of the report');
  });

  test('a cell whose agent was deleted waits for it, then goes into the trash, from which it is removed in the end', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(() => bench.delivered.length === 1);
    const cell = join(bench.root, 'cells', session);
    await bench.store.delete(agentGroups, 'helper');
    await until(async () => (await bench.session(session)) === undefined, 'the Session goes with its agent');
    await until(() => existsSync(join(cell, 'orphaned')), 'it is marked');
    expect(existsSync(join(cell, 'in', 'inbound.db'))).toBe(true);
    const day = Date.now() / 1_000 - 2 * 86_400;
    await bench.restart(); // the mark is the clock
    utimesSync(join(cell, 'orphaned'), day, day);
    const trash = (): string[] => (existsSync(join(bench.root, 'trash')) ? readdirSync(join(bench.root, 'trash')) : []);
    await until(() => trash().some((name) => name.endsWith(session)), 'it is in the trash');
    expect(existsSync(cell)).toBe(false);
    const [name = ''] = trash();
    expect(existsSync(join(bench.root, 'trash', name, 'in', 'inbound.db'))).toBe(true);
    renameSync(join(bench.root, 'trash', name), join(bench.root, 'trash', `1000-${session}`));
    await until(() => trash().length === 0, 'its retention is over');
  });

  test('a message that waited for a place when its agent was deleted waits no more, and its cell goes as the others do', async () => {
    await bench.close();
    bench = await createBench({ limits: { sweepMs: 100, maxAwakePerShard: 0 } });
    await bench.agent('helper');
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(() => bench.delivered.some(({ content }) => content.includes('All places are taken')), 'whoever waits is told');
    await bench.store.delete(agentGroups, 'helper');
    await until(() => existsSync(join(bench.root, 'cells', session, 'orphaned')), 'the cell is marked');
  });

  test('one cell that cannot be read keeps no other from being swept, and the agent of a broken file only harms itself', async () => {
    const bad = await bench.enqueue({ eventId: 'e1', chat: 'a-bad' });
    const good = await bench.enqueue({ eventId: 'e2', chat: 'b-good' });
    await until(() => bench.delivered.length === 2);
    await bench.stop();
    writeFileSync(join(bench.root, 'cells', bad.session, 'out', 'outbound.db'), 'not a database'.repeat(20));
    await bench.store.delete(sessions, good.session);
    await bench.restart();
    await until(async () => (await bench.session(good.session)) !== undefined, 'the adoption of the other');
    await until(
      async () => (await bench.session(bad.session))?.metadata.annotations?.[STORAGE_ANNOTATION]?.includes('OutboundRefused') === true,
      'the report',
    );
    expect((await bench.enqueue({ eventId: 'e3', chat: 'b-good' })).outcome).toBe(1);
  });

  test('staged files that no message claimed are removed after their time, fresh ones stay', async () => {
    const stale = join(bench.root, 'incoming', `${'a'.repeat(20)}-${'0'.repeat(64)}`);
    const fresh = join(bench.root, 'incoming', `${'b'.repeat(20)}-${'0'.repeat(64)}`);
    writeFileSync(stale, 'x');
    writeFileSync(fresh, 'x');
    utimesSync(stale, 1, 1);
    await until(() => !existsSync(stale), 'the removal');
    expect(existsSync(fresh)).toBe(true);
  });

  test('a cell that a crash left half-made is finished by its first message', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1', chat: 'other' });
    await bench.stop();
    // As after a crash between the folders and inbound.db.
    rmSync(join(bench.root, 'cells', session), { recursive: true });
    mkdirSync(join(bench.root, 'cells', session, 'in'), { recursive: true });
    await bench.store.delete(sessions, session);
    await bench.restart();
    expect((await bench.enqueue({ eventId: 'e1', chat: 'other' })).outcome).toBe(1);
    await until(() => bench.delivered.some(({ chat }) => chat === 'other'), 'the answer');
  });
});
