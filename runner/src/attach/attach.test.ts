import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { attach, INBOUND_MIGRATIONS, latest, OUTBOUND_MIGRATIONS } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { TestCell } from '../testing/cell.ts';
import { DeliveryStandIn } from '../testing/delivery-stand-in.ts';
import { MAIN, until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';

const running = new Running();
let delivery: DeliveryStandIn;
let folder: string;
let cell: TestCell;
beforeEach(async () => {
  delivery = new DeliveryStandIn();
  await delivery.listen();
  folder = mkdtempSync(join(tmpdir(), 'dovecote-attach-'));
  writeFileSync(join(folder, 'token'), 'pod-token\n');
  cell = running.cell();
});
afterEach(async () => {
  await running.close();
  delivery.close();
  rmSync(folder, { recursive: true });
});
const flags = (): string[] => ['--attach', `127.0.0.1:${delivery.port}`, '--token', join(folder, 'token')];

describe('the stream to delivery', () => {
  test('tells what the model has said so far, of streamed answers, and takes it back when a tool is used instead', async () => {
    cell = running.cell();
    const runner = running.start(cell, flags());
    await until('hello is heard', () => delivery.of('hello').length === 1);
    cell.say('stream slowly <internal>no one sees this</internal> one two three\ntool list_dir {}\nstream slowly the answer itself');
    await until('it is answered', () => cell.texts().length === 1);
    await runner.drain();
    const partials = delivery.of('partial');
    const first = partials.filter(({ step }) => step === 1).map(({ text }) => text);
    expect(first.length).toBeGreaterThan(1);
    expect(first.join()).not.toMatch(/internal|sees/);
    expect(first.slice(0, -1).every((text) => text !== '' && 'one two three'.startsWith(text))).toBe(true);
    expect(first.at(-1)).toBe('');
    const second = partials.filter(({ step }) => step === 2).map(({ text }) => text);
    expect(second.length).toBeGreaterThan(0);
    expect(second.every((text) => text !== '' && 'the answer itself'.startsWith(text))).toBe(true);
    expect(partials.every(({ inReplyTo }) => inReplyTo === 2)).toBe(true);
  });

  test('says nothing of an answer that is being written when the agent does not stream', async () => {
    cell = running.cell({ agent: { streaming: false } });
    running.start(cell, flags());
    cell.say('stream slowly one two three');
    await until('it is answered', () => cell.texts().length === 1);
    expect(delivery.of('partial')).toEqual([]);
  });

  test('begins with hello under the token in the file, and tells of rows and of what is being done', async () => {
    running.start(cell, flags());
    await until('hello is heard', () => delivery.of('hello').length === 1);
    expect(delivery.tokens).toEqual(['Bearer pod-token']);
    expect(delivery.of('hello')).toMatchObject([
      {
        session: 'helper-abc',
        inboundSchema: latest(INBOUND_MIGRATIONS),
        outboundSchema: latest(OUTBOUND_MIGRATIONS),
        containerServiceCertificate: expect.stringContaining('BEGIN CERTIFICATE'),
      },
    ]);
    cell.say('tool exec {"command":"true"}\nsay done');
    delivery.send({ $case: 'inbox', value: { seq: 2 } });
    await until('it is told', () => delivery.of('outbox').length >= 2);
    const phases = delivery.of('progress').map((p) => [p.phase, p.activity]);
    const { IDLE, TURN, WAITING } = attach.Progress_Phase;
    expect(phases.slice(0, 4)).toEqual([
      [IDLE, ''],
      [TURN, 'model'],
      [WAITING, 'exec'],
      [TURN, 'model'],
    ]);
    await until('it is idle again', () => delivery.of('progress').at(-1)?.phase === IDLE);
    expect(delivery.of('progress').find((p) => p.phase === WAITING)?.deadlineMs).toBeGreaterThan(Date.now());
  });

  test('tells until when background jobs run that have a deadline, and when none does any more', async () => {
    running.start(cell, flags());
    cell.say('tool exec {"command":"sleep 1000","background":true}\nsay one');
    await until('one is answered', () => cell.texts().length === 1);
    expect(delivery.of('progress').every(({ jobsUntilMs }) => jobsUntilMs === 0)).toBe(true);
    const before = Date.now();
    cell.say('tool exec {"command":"while [ ! -e go ]; do sleep 0.05; done","background":true,"timeout_seconds":600}\nsay two');
    await until('its deadline is told', () => (delivery.of('progress').at(-1)?.jobsUntilMs ?? 0) >= before + 600_000);
    writeFileSync(join(cell.workspace, 'go'), '');
    await until('its end is told', () => delivery.of('progress').at(-1)?.jobsUntilMs === 0);
  });

  test('that breaks is dialled again with the token of that moment; nothing is lost meanwhile', async () => {
    running.start(cell, flags());
    await until('hello is heard', () => delivery.of('hello').length === 1);
    delivery.close();
    cell.say('say without a stream');
    await until('it is answered by the poll', () => cell.texts().length === 1);
    writeFileSync(join(folder, 'token'), 'exchanged\n');
    await delivery.listen();
    await until('hello is heard again', () => delivery.of('hello').length === 2);
    expect(delivery.tokens.at(-1)).toBe('Bearer exchanged');
    expect(delivery.of('hello')[0]?.instance).toBe(delivery.of('hello')[1]?.instance);
    await until('the rows are announced', () => delivery.of('outbox').length > 0);
  });

  test('works without a token file at first: the runner polls, and dials when the file is there', async () => {
    rmSync(join(folder, 'token'));
    running.start(cell, flags());
    cell.say('say alone');
    await until('it is answered', () => cell.texts().length === 1);
    writeFileSync(join(folder, 'token'), 'late\n');
    await until('hello is heard', () => delivery.of('hello').length === 1);
  });

  test('brings the drain: the runner says Drained and ends with 0', async () => {
    const runner = running.start(cell, flags());
    await until('hello is heard', () => delivery.of('hello').length === 1);
    delivery.send({ $case: 'drain', value: { reason: 'Idle', deadlineMs: Date.now() + 10_000 } });
    expect(await runner.ended).toEqual({ code: 0, signal: null });
    expect(delivery.of('drained')).toEqual([{ reason: 'Idle', checkpointed: false }]);
    expect(delivery.of('hello')).toHaveLength(1);
  });

  test('says of a full volume that it is why the runner ends', async () => {
    const first = running.start(cell);
    cell.say('say small');
    await until('it is answered', () => cell.texts().length === 1);
    await first.drain();
    // The largest file this process may write: what a full volume is to SQLite, without a volume.
    const blocks = Math.ceil(statSync(cell.outboundPath).size / 1024) + 8;
    const folders = ['--in', cell.in, '--out', cell.out, '--workspace', cell.workspace, '--home', cell.home];
    const args = [MAIN, '--session', 'helper-abc', ...folders, ...flags()];
    const full = spawn('bash', ['-c', `ulimit -f ${blocks}; exec "$0" "$@"`, process.execPath, ...args], { stdio: 'ignore' });
    const exit = once(full, 'exit') as Promise<[number]>;
    await until('hello is heard', () => delivery.of('hello').length === 1);
    cell.say(`say ${'long '.repeat(20_000)}`);
    const [code] = await exit;
    expect([code, delivery.of('drained')]).toEqual([75, [{ reason: 'DiskFull', checkpointed: true }]]);
  });

  test('that is only being opened when the runner is told to end does not keep it', async () => {
    const token = join(folder, 'token');
    rmSync(token);
    execFileSync('mkfifo', [token]); // it is read when somebody writes
    const runner = running.start(cell, flags());
    await until('it runs', () => existsSync(cell.outboundPath));
    const drained = runner.drain();
    await new Promise((resolve) => setTimeout(resolve, 500)); // its session ends meanwhile
    await writeFile(token, 'late\n');
    expect(await drained).toEqual({ code: 0, signal: null });
  });

  test('brings a changed projection into the running session', async () => {
    running.start(cell, flags());
    await until('hello is heard', () => delivery.of('hello').length === 1);
    cell.say('<message to="ops">not yet</message>');
    cell.addDestination('ops', 'c9');
    delivery.send({ $case: 'projection', value: {} });
    cell.say('tool send_message {"to":"ops","text":"for ops"}');
    delivery.send({ $case: 'inbox', value: { seq: 4 } });
    await until('it is sent', () => cell.sent().some((row) => row.destination === 'ops'));
  });
});
