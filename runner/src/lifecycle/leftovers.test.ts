import { existsSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PathJail } from '@dovecote/proto';
import { expect, test } from '@jest/globals';
import { TestCell } from '../testing/cell.ts';
import { until } from '../testing/runner-process.ts';
import { systemClock } from './clock.ts';
import { startLeftoverSweep } from './leftovers.ts';
import { silentLog } from './log.ts';

test('what a killed writer left behind is removed, and nothing else: not a young one, not what only looks like it, not beyond a link', async () => {
  const cell = new TestCell();
  const name = '.dovecote-0123456789abcdef.tmp';
  const put = (path: string, old = true): string => {
    const file = join(cell.root, path);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, 'half');
    if (old) utimesSync(file, 1, 1);
    return file;
  };
  const left = [put(`workspace/${name}`), put(`workspace/deep/er/${name}`), put(`home/${name}`)];
  const kept = [put(`workspace/young/${name}`, false), put('workspace/.dovecote-mine.tmp'), put('workspace/notes.txt'), put(`in/${name}`)];
  symlinkSync(cell.in, join(cell.workspace, 'link'));
  const jail = new PathJail([
    { alias: '/workspace', dir: cell.workspace, writable: true },
    { alias: '/agent', dir: cell.home, writable: true },
    { alias: '/attachments', dir: cell.in, writable: false },
  ]);
  const stop = startLeftoverSweep(jail, systemClock, silentLog, 0);
  await until('they are gone', () => !left.some(existsSync));
  await stop();
  expect(kept.every(existsSync)).toBe(true);
  cell.remove();
});
