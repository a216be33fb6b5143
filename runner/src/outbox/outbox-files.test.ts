import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PathJail, TooLargeError } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { TestCell } from '../testing/cell.ts';
import { MAX_FILE_BYTES, OutboxFiles } from './outbox-files.ts';

let cell: TestCell;
let jail: PathJail;
beforeEach(() => {
  cell = new TestCell();
  jail = new PathJail([{ alias: '/workspace', dir: cell.workspace, writable: true }]);
  writeFileSync(join(cell.workspace, 'a.txt'), 'content');
});
afterEach(() => cell.remove());

describe('a file on its way out', () => {
  test('that a killed predecessor staged and never sent is removed at the start, not one that has its row', () => {
    const files = new OutboxFiles(cell.out);
    files.stage(jail, 'a.txt', 'never.txt');
    files.stage(jail, 'a.txt', 'sent.txt').place(3);
    new OutboxFiles(cell.out);
    expect(readdirSync(join(cell.out, 'outbox'))).toEqual(['3']);
  });

  test('takes the place of what a predecessor had moved there when it died before its commit', () => {
    const files = new OutboxFiles(cell.out);
    mkdirSync(join(cell.out, 'outbox/3'), { recursive: true });
    writeFileSync(join(cell.out, 'outbox/3/other.txt'), 'of a row that never was');
    expect(files.stage(jail, 'a.txt', 'a.txt').place(3)).toBe('outbox/3/a.txt');
    expect(readdirSync(join(cell.out, 'outbox/3'))).toEqual(['a.txt']);
    expect(readFileSync(join(cell.out, 'outbox/3/a.txt'), 'utf8')).toBe('content');
  });

  test('that grows while it is copied ends at the limit, and nothing of it stays', () => {
    const files = new OutboxFiles(cell.out);
    // Looked at before it grew.
    class EarlyJail extends PathJail {
      override withFile<T>(path: string, use: Parameters<typeof PathJail.prototype.withFile<T>>[1]): T {
        return super.withFile(path, (fd, stats, at) => {
          truncateSync(join(cell.workspace, 'a.txt'), MAX_FILE_BYTES + 1);
          return use(fd, stats, at);
        });
      }
    }
    const early = new EarlyJail(jail.roots);
    expect(() => files.stage(early, 'a.txt', 'a.txt')).toThrow(TooLargeError);
    expect(readdirSync(join(cell.out, 'outbox/.staging'))).toEqual([]);
  });
});
