import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cellPaths, INBOUND_DB, OUTBOUND_DB, openOutboundWriter, readOutbound } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CellMissingError, ShardCells } from './cells.ts';
import type { NewCell } from './create.ts';
import { measureFolder } from './measure.ts';
import { emptyTrash, trashCell } from './trash.ts';

let root: string;
let cells: ShardCells;
const { signal } = new AbortController();
const cell = (session: string): NewCell => ({
  session,
  agent_group: 'helper',
  agent_group_uid: 'uid',
  scope: 'web/c1',
  generation: 1,
  type: 'Chat',
  created_at: 5,
});
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'dovecote-cells-'));
  cells = new ShardCells({ root, maxOpen: 2 });
});
afterEach(() => {
  cells.close();
  rmSync(root, { recursive: true, force: true });
});

describe('cells', () => {
  test('making one twice makes one, and what it begins with is in its first commit', () => {
    const first = cells.create(cell('a'), ({ inbound }) => inbound.exec("INSERT INTO agent (id, config, hash) VALUES (1, '{}', 'h')"));
    expect(first.meta).toMatchObject({ session: 'a', scope: 'web/c1', title: null });
    const again = cells.create({ ...cell('a'), scope: 'other' }, () => {
      throw new Error('not made again');
    });
    expect(again.meta.scope).toBe('web/c1');
    expect(again.inbound.prepare('SELECT hash FROM agent').pluck().get()).toBe('h');
    expect(statSync(join(root, 'cells', 'a', 'workspace')).mode & 0o777).toBe(0o770);
    expect(existsSync(join(root, 'agents', 'uid', 'home'))).toBe(true);
  });

  test('one that does not exist, or whose name leads elsewhere, is missing', () => {
    for (const name of ['nobody', '../a', '', 'A', 'a/../a', 'x'.repeat(64)]) expect(() => cells.open(name)).toThrow(CellMissingError);
  });

  test('more cells than may be open are closed in turn, pinned ones are not', () => {
    const pinned = cells.create(cell('a'));
    cells.pin('a');
    for (const name of ['b', 'c', 'd', 'e']) cells.create(cell(name));
    expect(pinned.inbound.open).toBe(true);
    expect(cells.open('a')).toBe(pinned);
    const b = cells.open('b');
    cells.open('c');
    cells.open('d');
    expect(b.inbound.open).toBe(false);
    cells.unpin('a');
    for (const name of ['b', 'c']) cells.open(name);
    expect(pinned.inbound.open).toBe(false);
  });

  test('what a runner that was killed in mid-commit left behind is rolled back once its Pod is gone', async () => {
    const { paths } = cells.create(cell('a'));
    const file = join(paths.out, OUTBOUND_DB);
    const writer = openOutboundWriter(file);
    writer.prepare("INSERT INTO state VALUES ('k', '1', 1)").run();
    writer.close();
    // A small cache makes SQLite write changed pages before the commit: the journal is hot when the process dies.
    const script = `import { openOutboundWriter } from ${JSON.stringify(import.meta.resolve('@dovecote/proto'))};
      const db = openOutboundWriter(${JSON.stringify(file)}); db.pragma('cache_size = 2'); db.exec('BEGIN');
      for (let i = 0; i < 2000; i++) db.prepare('INSERT INTO state VALUES (?, ?, 1)').run('x' + i, JSON.stringify('y'.repeat(500)));
      console.log('open'); setInterval(() => {}, 1000); globalThis.keep = db;`;
    const runner = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    await once(runner.stdout, 'data');
    runner.kill('SIGKILL');
    await once(runner, 'exit');
    const count = (): number => {
      const db = cells.open('a').outbound();
      if (db === undefined) throw new Error('no outbound.db');
      return readOutbound(db, () => db.prepare('SELECT count(*) FROM state').pluck().get() as number);
    };
    expect(count).toThrow();
    cells.recover('a');
    expect(count()).toBe(1);
  });

  test('removal is a rename first, and real only after its time', async () => {
    cells.create(cell('a'));
    cells.create(cell('b'));
    trashCell(cells, 'a', 1_000);
    expect(cells.has('a')).toBe(false);
    expect(cells.list()).toEqual(['b']);
    expect(existsSync(join(root, 'trash', '1000-a', 'in', INBOUND_DB))).toBe(true);
    mkdirSync(join(root, 'trash', 'not-ours'));
    expect(await emptyTrash(root, 1_500, 1_000, signal)).toBe(0);
    expect(await emptyTrash(root, 2_001, 1_000, signal)).toBe(1);
    expect(readdirSync(join(root, 'trash'))).toEqual(['not-ours']);
  });

  test('what an agent closed to everybody, or made too deep for a path, is removed too', async () => {
    const closed = join(root, 'trash', '1000-a', 'workspace', 'closed');
    mkdirSync(closed, { recursive: true });
    writeFileSync(join(closed, 'file'), '');
    const half = Array.from({ length: 12 }, () => 'd'.repeat(200));
    mkdirSync(join(closed, ...half), { recursive: true });
    mkdirSync(join(root, 'rest', ...half), { recursive: true });
    renameSync(join(root, 'rest'), join(closed, ...half, 'rest'));
    chmodSync(closed, 0);
    mkdirSync(join(root, 'trash', '1000-b'));
    expect(await emptyTrash(root, 2_001, 1_000, signal)).toBe(2);
    expect(readdirSync(join(root, 'trash'))).toEqual([]);
  });

  test('sizes count what lies too deep for a path, and what has a name that is none', async () => {
    const { workspace } = cellPaths(root, cells.create(cell('a')).session);
    writeFileSync(Buffer.concat([Buffer.from(`${workspace}/`), Buffer.from([0xff, 0xfe])]), Buffer.alloc(100_000, 1));
    expect((await measureFolder(workspace, 1_000, signal)).bytes).toBeGreaterThanOrEqual(100_000);
    const half = Array.from({ length: 12 }, () => 'd'.repeat(200));
    mkdirSync(join(workspace, ...half), { recursive: true });
    mkdirSync(join(root, 'rest', ...half), { recursive: true });
    writeFileSync(join(root, 'rest', ...half, 'big'), Buffer.alloc(100_000, 1));
    renameSync(join(root, 'rest'), join(workspace, ...half, 'rest'));
    expect((await measureFolder(workspace, 1_000, signal)).bytes).toBeGreaterThanOrEqual(200_000);
    trashCell(cells, 'a', 1);
    await emptyTrash(root, 10, 0, signal); // or nothing here could be removed behind the test
  });

  test('sizes count what lies on the disk, follow no link, and end at their limit', async () => {
    const { workspace } = cellPaths(root, cells.create(cell('a')).session);
    writeFileSync(join(workspace, 'file'), Buffer.alloc(100_000));
    symlinkSync('/', join(workspace, 'everything'));
    const { bytes, partial } = await measureFolder(workspace, 1_000, signal);
    expect(partial).toBe(false);
    expect(bytes).toBeGreaterThanOrEqual(100_000);
    expect(bytes).toBeLessThan(200_000);
    for (let n = 0; n < 20; n += 1) writeFileSync(join(workspace, String(n)), 'x');
    expect((await measureFolder(workspace, 10, signal)).partial).toBe(true);
    expect(await measureFolder(join(root, 'nothing'), 10, signal)).toEqual({ bytes: 0, partial: false });
  });
});
