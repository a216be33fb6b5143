import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { ManualClock } from '../testing/manual-clock.ts';
import { ToolBench } from '../testing/tool-bench.ts';

let bench: ToolBench;
beforeEach(() => {
  bench = new ToolBench();
});
afterEach(() => bench.close());

const use = async (name: string, input: unknown): Promise<string> => (await bench.use(name, input)).text;
const etagIn = (text: string): string => /etag (\w+)/.exec(text)?.[1] ?? '';

describe('the memory', () => {
  test('is written by etag: a file is made, read, replaced, changed in part, and listed', async () => {
    expect(await use('memory_read', {})).toBe('The memory is empty.');
    const made = await use('memory_write', { path: 'people/ann.md', content: 'likes tea\n', etag: 'new' });
    expect(made).toMatch(/^Created \/agent\/memory\/people\/ann\.md \(etag \w{16}\)\.$/);
    const read = await use('memory_read', { path: '/agent/memory/people/ann.md' });
    expect(read).toBe(`(etag ${etagIn(made)})\nlikes tea\n`);
    const replaced = await use('memory_write', { path: 'people/ann.md', content: 'likes tea and cake\n', etag: etagIn(read) });
    expect(replaced).toContain('Replaced');
    expect(await use('memory_edit', { path: 'people/ann.md', old_text: 'cake', new_text: '$& pie' })).toContain('Changed');
    expect(readFileSync(join(bench.cell.home, 'memory/people/ann.md'), 'utf8')).toBe('likes tea and $& pie\n');
    expect(await use('memory_read', {})).toBe('people/ann.md\t21');
  });

  test('a write over what another conversation wrote is refused with what stands there now, and how to go on', async () => {
    const etag = etagIn(await use('memory_write', { path: 'a.md', content: 'one', etag: 'new' }));
    writeFileSync(join(bench.cell.home, 'memory/a.md'), 'two'); // any other way to write counts too
    const refused = await use('memory_write', { path: 'a.md', content: 'three', etag });
    expect(refused).toMatch(/was changed since you read it.*write it with the etag \w{16}:\ntwo$/s);
    expect(readFileSync(join(bench.cell.home, 'memory/a.md'), 'utf8')).toBe('two');
    expect(await use('memory_write', { path: 'a.md', content: 'three', etag: etagIn(refused.split('with the')[1] ?? '') })).toContain(
      'Replaced',
    );
    expect(await use('memory_write', { path: 'a.md', content: 'x', etag: 'new' })).toContain('exists already');
    expect(await use('memory_write', { path: 'b.md', content: 'x', etag })).toContain('does not exist (any more)');
    expect(await use('memory_edit', { path: 'a.md', old_text: 'two', new_text: 'x' })).toContain(
      'another conversation may have changed it',
    );
  });

  test('an edit wants its text exactly once', async () => {
    await use('memory_write', { path: 'a.md', content: 'tea, tea', etag: 'new' });
    expect(await use('memory_edit', { path: 'a.md', old_text: 'tea', new_text: 'cake' })).toContain('contains that text 2 times');
    expect(readFileSync(join(bench.cell.home, 'memory/a.md'), 'utf8')).toBe('tea, tea');
  });

  test('a write behind one that never ends is given up after five seconds, with a sentence', async () => {
    await use('memory_write', { path: 'a.md', content: 'one', etag: 'new' });
    const other = new Sqlite(join(bench.cell.home, 'memory/.lock'));
    other.exec('BEGIN EXCLUSIVE');
    const clock = new ManualClock(1_000);
    let result: string | undefined;
    void bench.use('memory_write', { path: 'b.md', content: 'x', etag: 'new' }, { clock }).then(({ text }) => {
      result = text;
    });
    await clock.runUntil(() => result !== undefined);
    other.close();
    expect(result).toContain('is being written by another conversation without end');
    expect(clock.now()).toBeLessThan(7_000);
    expect(await use('memory_write', { path: 'b.md', content: 'x', etag: 'new' })).toContain('Created');
  });

  test('four processes that write one file at once lose nothing', async () => {
    await use('memory_write', { path: 'count.md', content: '0', etag: 'new' });
    const program = join(import.meta.dirname, '../testing/memory-writer.ts');
    const run = promisify(execFile);
    const ended = await Promise.all([1, 2, 3, 4].map(() => run(process.execPath, [program, bench.cell.home, '50'])));
    expect(await use('memory_read', { path: 'count.md' })).toMatch(/\n200$/);
    expect(ended.map(({ stdout }) => Number(stdout)).reduce((sum, n) => sum + n)).toBeGreaterThan(0); // they did meet
  });

  test.each(['../x.md', '/workspace/x.md', '/agent/x.md', '/agent/memory', '.', 'a/../../x', '.lock', 'a/.b', '/etc/passwd', 'a\0b'])(
    'a path outside of it is refused: %j',
    async (path) => {
      for (const [name, input] of [
        ['memory_read', { path }],
        ['memory_write', { path, content: 'x', etag: 'new' }],
        ['memory_edit', { path, old_text: 'x', new_text: 'y' }],
      ] as const)
        expect([name, (await bench.use(name, input)).isError]).toEqual([name, true]);
    },
  );

  test('links, binary files and files beyond the limit are refused', async () => {
    mkdirSync(join(bench.cell.home, 'memory'));
    writeFileSync(join(bench.cell.root, 'secret'), 'secret');
    symlinkSync(join(bench.cell.root, 'secret'), join(bench.cell.home, 'memory/link.md'));
    writeFileSync(join(bench.cell.home, 'memory/bad.md'), Buffer.from([0xff, 0xfe, 0xfd]));
    mkdirSync(join(bench.cell.home, 'memory/.lock'));
    expect(await use('memory_write', { path: 'a.md', content: 'x', etag: 'new' })).toContain('cannot be used as a lock');
    rmdirSync(join(bench.cell.home, 'memory/.lock'));
    expect(await use('memory_read', { path: 'link.md' })).toContain('link');
    expect(await use('memory_write', { path: 'link.md', content: 'x', etag: 'new' })).toContain('link');
    expect(await use('memory_read', { path: 'bad.md' })).toContain('binary');
    expect(await use('memory_write', { path: 'big.md', content: '€'.repeat(100_000), etag: 'new' })).toContain('at most 262144');
    expect(readFileSync(join(bench.cell.root, 'secret'), 'utf8')).toBe('secret');
  });
});
