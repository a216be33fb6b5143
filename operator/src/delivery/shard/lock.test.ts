import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { lockShard } from './lock.ts';

test('a second owner is refused with one sentence, and gets the shard once the first was killed', async () => {
  const root = mkdtempSync(join(tmpdir(), 'dovecote-lock-'));
  const owner = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { lockShard } from '${join(import.meta.dirname, 'lock.ts')}'; lockShard('${root}', '0'); console.log('held'); setInterval(() => {}, 1000);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  try {
    await once(owner.stdout, 'data');
    expect(() => lockShard(root, '0')).toThrow(`cannot start delivery for shard 0: another process holds ${join(root, 'shard.lock')}`);
  } finally {
    owner.kill('SIGKILL');
    await once(owner, 'exit');
  }
  const lock = lockShard(root, '0');
  expect(() => lockShard(root, '0')).toThrow('cannot start delivery for shard 0');
  lock.release();
  lockShard(root, '0').release();
});
