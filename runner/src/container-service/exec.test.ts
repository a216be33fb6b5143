import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { verifies } from '@dovecote/e2e/verifies.ts';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestCell } from '../testing/cell.ts';
import { until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';
import { ServiceCaller } from '../testing/service-caller.ts';

const running = new Running();
let cell: TestCell;
let caller: ServiceCaller;
beforeAll(async () => {
  cell = running.cell();
  caller = await ServiceCaller.of(running, cell);
});
afterAll(async () => {
  caller.close();
  await running.close();
});
const sh = (script: string): string[] => ['sh', '-c', script];
const pidIn = async (name: string): Promise<number> => {
  const path = join(cell.workspace, name);
  await until(`${name} names a process`, () => existsSync(path) && readFileSync(path, 'utf8').endsWith('\n'));
  return Number(readFileSync(path, 'utf8'));
};
const ended = (pid: number): boolean => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z');

verifies('pod/exec', 'a command gets its input, environment and folder, and its two outputs and exit code come back', async () => {
  const call = caller.exec({
    command: sh('read x; echo "got $x $A in $PWD"; cat; echo oops >&2; exit 3'),
    env: { A: 'b' },
    workingDirectory: '/agent',
  });
  call.type('input\n');
  call.type('more');
  call.send({ $case: 'stdinEof', value: true });
  expect(await call.ended).toEqual({ code: 3, signal: '', timedOut: false });
  expect([call.output(), call.output('stderr')]).toEqual([`got input b in ${cell.home}\nmore`, 'oops\n']);
});

verifies('pod/exec', 'a terminal: it is one, has the size it is given, echoes, and hands over ^C', async () => {
  const call = caller.exec({
    command: sh(
      'test -t 0 && test -t 1 && stty size; trap "stty size" WINCH; trap "echo caught; exit 7" INT; echo ready; while :; do sleep 0.02; done',
    ),
    tty: true,
  });
  await until('it runs', () => call.output().includes('ready'));
  expect(call.output()).toContain('24 80');
  call.send({ $case: 'resize', value: { columns: 132, rows: 43 } });
  await until('it has the new size', () => call.output().includes('43 132'));
  call.type('\x03');
  expect(await call.ended).toEqual({ code: 7, signal: '', timedOut: false });
  expect(call.output()).toContain('^Ccaught');

  const cat = caller.exec({ command: ['cat'], tty: true });
  cat.type('hello\n');
  await until('it is echoed and answered', () => cat.output() === 'hello\r\nhello\r\n');
  cat.send({ $case: 'stdinEof', value: true });
  expect(await cat.ended).toMatchObject({ code: 0 });
  await expect(caller.exec({ command: ['no-such-program'], tty: true }).ended).rejects.toMatchObject({ code: status.NOT_FOUND });
  const killed = caller.exec({ command: sh('kill -9 $$'), tty: true });
  expect(await killed.ended).toEqual({ code: -1, signal: 'SIGKILL', timedOut: false });
});

verifies(
  'pod/exec',
  'a command ends by its own signal, by one that is sent, by its time, or with its stream, and all that it started with it',
  async () => {
    expect(await caller.exec({ command: sh('kill -TERM $$') }).ended).toEqual({ code: -1, signal: 'SIGTERM', timedOut: false });
    const signalled = caller.exec({ command: sh('trap "echo hup; exit 4" HUP; echo ready; while :; do sleep 0.02; done') });
    await until('it runs', () => signalled.output() === 'ready\n');
    signalled.send({ $case: 'signal', value: 4_000 });
    signalled.send({ $case: 'signal', value: constants.signals.SIGHUP });
    expect(await signalled.ended).toMatchObject({ code: 4 });

    const late = caller.exec({ command: sh('trap "" TERM; sleep 1000 & echo $! > late; wait; sleep 1000'), timeoutMs: 5_000 });
    expect(await late.ended).toEqual({ code: -1, signal: 'SIGKILL', timedOut: true });
    await until('its child has ended', () => ended(Number(readFileSync(join(cell.workspace, 'late'), 'utf8'))));

    for (const tty of [false, true]) {
      const left = caller.exec({
        command: sh(`trap "" HUP TERM; setsid sh -c 'echo $$ > daemon-${tty}; sleep 1000' & echo $$ > leader-${tty}; sleep 1000`),
        tty,
      });
      const pids = [await pidIn(`daemon-${tty}`), await pidIn(`leader-${tty}`)];
      left.call.cancel();
      await until('all of them have ended', () => pids.every(ended));
    }
  },
);

verifies(
  'pod/exec',
  'a caller that reads slowly holds the command up and misses nothing, in a terminal too; one that writes much is held up by it',
  async () => {
    for (const tty of [false, true]) {
      const counter = join(cell.workspace, `written-${tty}`);
      const line = 'x'.repeat(999);
      const call = caller.client.exec(caller.metadata);
      const script = `i=0; while [ $i -lt 6000 ]; do echo ${line}; i=$((i+1)); [ $((i % 100)) = 0 ] && echo $i > ${counter}; done; echo last`;
      const start = { command: sh(script), workingDirectory: '', env: {}, timeoutMs: 0, tty, jobId: '', detach: false, receivedBytes: 0 };
      call.write({ part: { $case: 'start', value: start } });
      const parts = call[Symbol.asyncIterator]();
      await parts.next();
      const written = (): number => Number(existsSync(counter) ? readFileSync(counter, 'utf8') : 0);
      // Nothing is read: it comes to a halt, far from its end.
      let seen = 0;
      let same = 0;
      await until(
        'it has come to a halt',
        () => {
          same = written() === seen ? same + 1 : 0;
          seen = written();
          return seen > 0 && same > 50;
        },
        60_000,
      );
      expect(seen).toBeLessThan(6000);
      let output = '';
      let bytes = 0;
      for (let part = await parts.next(); part.done !== true; part = await parts.next()) {
        if (part.value.part?.$case !== 'stdout') continue;
        bytes += part.value.part.value.length;
        output = (output + Buffer.from(part.value.part.value).toString()).slice(-100);
      }
      const end = tty ? '\r\n' : '\n';
      expect(output.endsWith(`last${end}`)).toBe(true);
      expect(bytes).toBe(6000 * (999 + end.length) + `last${end}`.length);
    }
    // A command that does not read: what is sent waits on the way and not in the runner's memory. When it reads, all of it comes.
    const call = caller.exec({ command: sh('while [ ! -e read-now ]; do sleep 0.02; done; wc -c') });
    const megabyte = Buffer.alloc(1024 * 1024);
    for (let n = 0; n < 48; n += 1) call.send({ $case: 'stdin', value: megabyte });
    call.send({ $case: 'stdinEof', value: true });
    await until('much of it waits', () => call.call.writableLength > 0);
    expect(residentBytes(caller.runner.child.pid ?? 0)).toBeLessThan(250 * 1024 * 1024);
    await caller.call(caller.client.writeFile, { path: 'read-now', text: '', expectedEtag: '', createParents: false });
    expect(await call.ended).toMatchObject({ code: 0 });
    expect(Number(call.output())).toBe(48 * 1024 * 1024);
  },
);

verifies(
  'pod/exec',
  'a detached command goes on without its stream, and whoever attaches by its id first gets what was missed',
  async () => {
    const first = caller.exec({
      command: sh('echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; read x; echo "got $x"; exit 5'),
      detach: true,
    });
    await until('it has begun', () => first.output() === 'one\n');
    const { jobId } = first;
    first.call.cancel();
    await caller.call(caller.client.writeFile, { path: 'go', text: '', expectedEtag: '', createParents: false });

    const whole = caller.exec({ jobId });
    await until('it is shown from its beginning', () => whole.output() === 'one\ntwo\n');
    const rest = caller.exec({ jobId, receivedBytes: 4 });
    rest.type('it\n');
    expect(await rest.ended).toEqual({ code: 5, signal: '', timedOut: false });
    expect(rest.output()).toBe('two\ngot it\n');
    expect(await whole.ended).toMatchObject({ code: 5 });
    // Also when it has ended: its output and its end are kept.
    const later = caller.exec({ jobId });
    expect([await later.ended, later.output()]).toMatchObject([{ code: 5 }, 'one\ntwo\ngot it\n']);

    const much = caller.exec({ command: sh('head -c 1000000 /dev/zero | tr "\\0" y; touch written'), detach: true });
    await until('it has begun', () => much.jobId !== '');
    much.call.cancel();
    await until('nobody holds it up', () => existsSync(join(cell.workspace, 'written')));
    const tail = caller.exec({ jobId: much.jobId });
    await tail.ended;
    const dropped = tail.parts.find((part) => part.$case === 'droppedBytes');
    expect([Number(dropped?.value) > 0, Number(dropped?.value) + tail.output().length]).toEqual([true, 1_000_000]);
  },
);

test('what cannot be run is refused with a sentence', async () => {
  const refused = async (start: Parameters<ServiceCaller['exec']>[0]) => caller.exec(start).ended.catch((e: unknown) => e);
  expect(await refused({ command: [] })).toMatchObject({ code: status.INVALID_ARGUMENT, details: 'the command is empty' });
  expect(await refused({ command: ['a\0b'] })).toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(await refused({ command: ['true'], env: { 'a=b': 'c' } })).toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(await refused({ command: ['no-such-program'] })).toMatchObject({
    code: status.NOT_FOUND,
    details: 'cannot run no-such-program: ENOENT',
  });
  expect(await refused({ command: ['true'], workingDirectory: '/etc' })).toMatchObject({ code: status.PERMISSION_DENIED });
  expect(await refused({ command: ['true'], workingDirectory: 'nowhere' })).toMatchObject({ code: status.NOT_FOUND });
  expect(await refused({ jobId: 'nothing' })).toMatchObject({
    code: status.NOT_FOUND,
    details: expect.stringContaining('there is no job'),
  });
  expect(await refused({ jobId: 'zzzz-1' })).toMatchObject({ code: status.NOT_FOUND, details: expect.stringContaining('restarted since') });
  expect(await refused({ command: ['echo', 'x'.repeat(1_000_000)] })).toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(await refused({ command: ['x'.repeat(1_000)] })).toMatchObject({ code: status.NOT_FOUND });
  const unstarted = caller.client.exec(caller.metadata);
  const code = new Promise((resolve) => unstarted.on('error', (e: { code?: number }) => resolve(e.code)));
  unstarted.on('data', () => {});
  unstarted.write({ part: { $case: 'stdinEof', value: true } });
  expect(await code).toBe(status.INVALID_ARGUMENT);
});

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}
