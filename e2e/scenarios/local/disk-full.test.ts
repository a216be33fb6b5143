import { execFileSync } from 'node:child_process';
import { closeSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { LocalMode } from '../../harness/local-mode.ts';
import { webAgent } from '../../harness/objects.ts';
import { PATIENT_MS, stage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const MIB = 2 ** 20;
const scenery = stage(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-full-'));
  const volume = join(folder, 'state/shard');
  mkdirSync(volume, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'dovecote-test', volume]);
  const house = await LocalMode.start({
    manifests: webAgent(),
    state: join(folder, 'state'),
    flags: ['--limits', JSON.stringify({ delivery: { reserveBytes: 4 * MIB, lowSpaceBytes: 4 * MIB } })],
  });
  return {
    house,
    volume,
    dispose: async () => {
      await house.dispose();
      execFileSync('umount', ['-l', volume]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
});

/** Fills the volume to the last byte. */
function fill(file: string): void {
  const fd = openSync(file, 'w');
  try {
    for (;;) writeSync(fd, Buffer.alloc(64 * 1024));
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ENOSPC') throw e;
  } finally {
    closeSync(fd);
  }
}

verifies(
  'cell/disk-full',
  'on a full volume events are refused so that the platform comes again, nothing is damaged, it is said, and work goes on by itself when there is room',
  async () => {
    const { house, volume } = scenery.it;
    const chat = house.chat();
    await chat.ask('remember before', 'before');
    fill(join(volume, 'filler'));
    await until('it is known', () => house.complaints(/volume is full/).length > 0);
    fill(join(volume, 'filler-2')); // the reserve was given back: it goes too
    await expect(chat.send('say refused', 'refused')).rejects.toThrow(/503/);
    expect(house.alive).toBe(true);
    await until('a condition says it', () => storeText(house.state).includes('VolumeFull'));
    // It ends and starts with a full volume as well.
    expect(await house.stop()).toBe(0);
    await house.start();
    await expect(chat.send('say refused', 'refused')).rejects.toThrow(/503/);
    rmSync(join(volume, 'filler'));
    rmSync(join(volume, 'filler-2'));
    await chat.insist('say refused', 'refused');
    await chat.answer(/^refused$/);
    expect(await chat.ask('recall', 'I remember')).toBe('I remember: before');
    expect(house.files.integrity()).toBe('ok');
    await until('the condition is gone', () => !storeText(house.state).includes('VolumeFull'));
  },
  PATIENT_MS,
);

/** Every Session in the embedded store. A copy is read: the process holds the file alone. */
function storeText(state: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-store-'));
  try {
    for (const end of ['', '-wal'])
      if (existsSync(join(state, `store.db${end}`))) copyFileSync(join(state, `store.db${end}`), join(folder, `store.db${end}`));
    const store = new Sqlite(join(folder, 'store.db'));
    const text = store.prepare("SELECT body FROM objects WHERE resource LIKE 'sessions%'").pluck().all().join();
    store.close();
    return text;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
