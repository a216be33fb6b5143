import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../lib/manual-clock.ts';
import {
  type Bench,
  channel,
  ledgerOf,
  makeCell,
  makeFolder,
  notices,
  openBench,
  RunnerHand,
  remove,
  rowOf,
  SESSION,
  until,
} from './testing/bench-cell.ts';
import { type ScriptedPlatform, startScriptedPlatform } from './testing/scripted-platform.ts';

let root: string;
let out: string;
let gateway: ScriptedPlatform;
let clock: ManualClock;
let bench: Bench;
let runner: RunnerHand;

beforeEach(async () => {
  root = makeFolder();
  out = join(root, 'cells', SESSION, 'out');
  gateway = await startScriptedPlatform();
  clock = new ManualClock();
  bench = openBench({ root, address: gateway.address, clock });
  makeCell(bench.cells);
  runner = new RunnerHand(root);
});
afterEach(async () => {
  runner.close();
  await bench.close();
  await gateway.close();
  remove(root);
});

function put(name: string, bytes: string | Buffer, seq = 1): void {
  mkdirSync(join(out, 'outbox', String(seq)), { recursive: true });
  writeFileSync(join(out, 'outbox', String(seq), name), bytes);
}
function sayFile(path: string, text?: string): number {
  return runner.say({
    kind: 'file',
    content: { path, name: 'report.pdf', mimeType: 'application/pdf', sizeBytes: 1, ...(text !== undefined && { text }) },
  });
}
const done = (): Promise<void> => until(() => bench.outbox.open(SESSION) === 0, 'an empty outbox');

describe('files', () => {
  test('a file arrives byte by byte, and is removed once its delivery is recorded', async () => {
    const bytes = Buffer.alloc(700_000, 'abcdefg');
    put('report.pdf', bytes);
    const gate = Promise.withResolvers<void>();
    gateway.act = () => ({ type: 'hold', until: gate.promise });
    const seq = sayFile('outbox/1/report.pdf');
    await bench.outbox.read(SESSION);
    await until(() => gateway.calls.length === 1);
    expect(existsSync(join(out, 'outbox', '1', 'report.pdf'))).toBe(true);
    gate.resolve();
    await done();
    expect(gateway.sent[0]?.file?.equals(bytes)).toBe(true);
    expect(rowOf(bench.cells, seq).state).toBe('delivered');
    await until(() => !existsSync(join(out, 'outbox', '1')));
  });

  test('an empty file is a file', async () => {
    put('empty', '');
    sayFile('outbox/1/empty');
    await bench.outbox.read(SESSION);
    await done();
    expect(gateway.sent[0]?.file?.length).toBe(0);
  });

  test('the rest of its text follows without the bytes', async () => {
    put('a', 'bytes');
    gateway.act = ({ part }) => ({ type: 'deliver', more: part === 0 });
    sayFile('outbox/1/a', 'a long text');
    await bench.outbox.read(SESSION);
    await done();
    expect(gateway.sent.map(({ part, file }) => [part, file?.toString()])).toEqual([
      [0, 'bytes'],
      [1, undefined],
    ]);
    await until(() => !existsSync(join(out, 'outbox', '1')));
  });

  test('a failure keeps the file, and so does a dead letter', async () => {
    put('a', 'bytes');
    gateway.act = () => ({ type: 'retry' });
    const seq = sayFile('outbox/1/a');
    await bench.outbox.read(SESSION);
    await until(() => rowOf(bench.cells, seq).state === 'failed');
    gateway.act = () => ({ type: 'refuse', reason: 'Forbidden', message: 'no' });
    clock.jump(1_000);
    await done();
    expect(existsSync(join(out, 'outbox', '1', 'a'))).toBe(true);
    gateway.act = () => undefined;
    await bench.outbox.retry(SESSION, seq);
    await done();
    expect(gateway.sent[0]?.file?.toString()).toBe('bytes');
  });

  test('what was sent but not removed is removed at the next start, what was not sent stays', async () => {
    runner.say({ text: 'one' });
    await bench.outbox.read(SESSION);
    await done();
    put('left', 'x', 1);
    put('new', 'x', 7);
    await bench.outbox.resume(SESSION);
    expect(readdirSync(join(out, 'outbox'))).toEqual(['7']);
  });

  test('a file in the built-in chat is kept, also over a restart: people download it from there', async () => {
    bench.channels.set('web', channel('web'));
    put('a', 'bytes');
    sayFile('outbox/1/a');
    await bench.outbox.read(SESSION);
    await done();
    await bench.outbox.resume(SESSION);
    expect(readFileSync(join(out, 'outbox', '1', 'a'), 'utf8')).toBe('bytes');
  });

  test('a file that is too large for its channel is refused with a sentence, without a call', async () => {
    bench.channels.set('web', channel('web', { type: 'slack', maxAttachmentBytes: '1Ki' }));
    put('a', Buffer.alloc(1_025));
    const seq = sayFile('outbox/1/a');
    await bench.outbox.read(SESSION);
    await done();
    expect(rowOf(bench.cells, seq).last_error).toBe('the file has 1025 bytes, which is more than the 1024 that may be sent');
    expect(gateway.texts()).toEqual([
      'A file could not be delivered here: the file has 1025 bytes, which is more than the 1024 that may be sent.',
    ]);
  });
});

describe('hostile files', () => {
  const secret = (): string => join(root, 'secret');

  test.each([
    ['elsewhere', 'workspace/a', /not in outbox\/1/],
    ['of another message', 'outbox/3/a', /not in outbox\/1/],
    ['up and out', 'outbox/1/../../../../secret', /not in outbox\/1/],
    ['with no name', 'outbox/1/..', /not in outbox\/1/],
    ['absolute', '/etc/passwd', /not in outbox\/1/],
    ['absent', 'outbox/1/a', /not there/],
  ])('a path that is %s', async (_what, path, sentence) => {
    writeFileSync(secret(), 'secret');
    const seq = sayFile(path);
    await bench.outbox.read(SESSION);
    await done();
    expect(rowOf(bench.cells, seq)).toMatchObject({ state: 'dead' });
    expect(rowOf(bench.cells, seq).last_error).toMatch(sentence);
    expect(gateway.sent.every(({ file }) => file === undefined)).toBe(true);
    expect(notices(bench.cells)).toHaveLength(1);
  });

  test.each([
    [
      'the file is a link',
      (): void => {
        mkdirSync(join(out, 'outbox', '1'));
        symlinkSync(secret(), join(out, 'outbox', '1', 'a'));
      },
    ],
    [
      'its folder is a link',
      (): void => {
        mkdirSync(join(root, 'elsewhere'));
        writeFileSync(join(root, 'elsewhere', 'a'), 'secret');
        symlinkSync(join(root, 'elsewhere'), join(out, 'outbox', '1'));
      },
    ],
    [
      'the outbox is a link',
      (): void => {
        mkdirSync(join(root, 'elsewhere', '1'), { recursive: true });
        writeFileSync(join(root, 'elsewhere', '1', 'a'), 'secret');
        rmSync(join(out, 'outbox'), { recursive: true });
        symlinkSync(join(root, 'elsewhere'), join(out, 'outbox'));
      },
    ],
    [
      'it is a pipe that nobody writes to',
      (): void => {
        mkdirSync(join(out, 'outbox', '1'));
        execFileSync('mkfifo', [join(out, 'outbox', '1', 'a')]);
      },
    ],
    ['it is a folder', (): void => mkdirSync(join(out, 'outbox', '1', 'a'), { recursive: true }) as undefined],
  ])('when %s, nothing is sent and the row is dead', async (_what, prepare) => {
    writeFileSync(secret(), 'secret');
    prepare();
    const seq = sayFile('outbox/1/a');
    await bench.outbox.read(SESSION);
    await done();
    expect(rowOf(bench.cells, seq).state).toBe('dead');
    expect(gateway.sent.every(({ file }) => file === undefined)).toBe(true);
  });

  test('a folder exchanged for a link after the file was sent: nothing behind the link is removed', async () => {
    put('a', 'bytes');
    const precious = join(root, 'precious');
    mkdirSync(precious);
    writeFileSync(join(precious, 'a'), 'keep me');
    const gate = Promise.withResolvers<void>();
    gateway.act = () => ({ type: 'hold', until: gate.promise });
    sayFile('outbox/1/a');
    await bench.outbox.read(SESSION);
    await until(() => gateway.calls.length === 1);
    renameSync(join(out, 'outbox', '1'), join(out, 'outbox', 'moved'));
    symlinkSync(precious, join(out, 'outbox', '1'));
    gate.resolve();
    await done();
    await bench.outbox.resume(SESSION);
    expect(readdirSync(precious)).toEqual(['a']);
    expect(ledgerOf(bench.cells)[0]?.state).toBe('delivered');
  });

  test('links and folders inside the folder of a sent file are not followed when it is removed', async () => {
    put('a', 'bytes');
    const precious = join(root, 'precious');
    mkdirSync(precious);
    writeFileSync(join(precious, 'b'), 'keep me');
    symlinkSync(precious, join(out, 'outbox', '1', 'link'));
    linkSync(join(precious, 'b'), join(out, 'outbox', '1', 'hard'));
    sayFile('outbox/1/a');
    await bench.outbox.read(SESSION);
    await done();
    await until(() => !existsSync(join(out, 'outbox', '1')));
    expect(readdirSync(precious)).toEqual(['b']);
  });
});
