import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { verifies } from '@dovecote/e2e/verifies.ts';
import { cellPaths, containerService as proto, SESSION_HEADER, SESSION_MISSING_HEADER } from '@dovecote/proto';
import { type ClientDuplexStream, credentials, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bearer, type Metadata, status, unary } from '../../lib/grpc.ts';
import { type Bench, createBench, until } from '../testing/delivery-bench.ts';
import { RealRunner } from '../testing/real-runner.ts';
import { plainTokens } from '../testing/tokens.ts';

let bench: Bench;
let awake: string;
let asleep: string;
let runner: RealRunner;
let client: proto.ContainerServiceClient;
beforeAll(async () => {
  bench = await createBench({ controller: false });
  await bench.agent('helper');
  ({ session: awake } = await bench.enqueue({ eventId: 'e1', chat: 'awake' }));
  // Silent context: a cell, and nothing that wakes it.
  ({ session: asleep } = await bench.enqueue({ eventId: 'e2', chat: 'asleep' }, { trigger: false }));
  runner = await RealRunner.start(bench, awake, 'pod-1');
  client = new proto.ContainerServiceClient(bench.delivery().address, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await runner.kill();
  await bench.close();
});

async function as(session: string | undefined, token = 'role:gateway'): Promise<Metadata> {
  const metadata = await bearer(plainTokens(token), 'dovecote-delivery');
  if (session !== undefined) metadata.set(SESSION_HEADER, session);
  return metadata;
}
const stat = async (session: string | undefined, path: string, token?: string) =>
  unary(client, client.stat, { path }, { metadata: await as(session, token), deadlineMs: 60_000 });
const write = async (session: string, path: string, text: string, expectedEtag = '') =>
  unary(client, client.writeFile, { path, text, expectedEtag, createParents: true }, { metadata: await as(session), deadlineMs: 60_000 });
const read = async (session: string, path: string) =>
  unary(client, client.readFile, { path, offsetLines: 0, limitLines: 0 }, { metadata: await as(session), deadlineMs: 60_000 });

async function writeRaw(session: string, path: string, chunks: readonly Buffer[]): Promise<proto.FileInfo | undefined> {
  const metadata = await as(session);
  return new Promise((resolve, reject) => {
    const stream = client.writeRaw(metadata, (e, response) => (e === null ? resolve(response.info) : reject(e)));
    stream.write({ part: { $case: 'info', value: { path, mode: 0, expectedEtag: '', createParents: true } } });
    for (const chunk of chunks) stream.write({ part: { $case: 'chunk', value: chunk } });
    stream.write({ part: { $case: 'commit', value: true } });
    stream.end();
  });
}
async function readRaw(session: string, path: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const stream = client.readRaw({ path, offset: 0, length: 0 }, await as(session)) as AsyncIterable<proto.ReadRawResponse>;
  for await (const { chunk } of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

interface Running {
  readonly call: ClientDuplexStream<proto.ExecRequest, proto.ExecResponse>;
  output(): string;
  readonly failed: Promise<ServiceError>;
  readonly ended: Promise<proto.ExecExit>;
}
async function exec(session: string, script: string, options: { deadlineMs?: number } = {}): Promise<Running> {
  const { deadlineMs } = options;
  const call = client.exec(await as(session), deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs });
  let output = '';
  const ended = Promise.withResolvers<proto.ExecExit>();
  call.on('data', ({ part }: proto.ExecResponse) => {
    if (part?.$case === 'stdout') output += Buffer.from(part.value).toString();
    if (part?.$case === 'exit') ended.resolve(part.value);
  });
  const failed = new Promise<ServiceError>((resolve) => call.on('error', (e: Error) => resolve(e as ServiceError)));
  const command = ['sh', '-c', script];
  const start = { command, workingDirectory: '', env: {}, timeoutMs: 0, tty: false, jobId: '', detach: false, receivedBytes: 0 };
  call.write({ part: { $case: 'start', value: start } });
  return { call, output: () => output, failed, ended: ended.promise };
}
const ended = (pid: number): boolean => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z');

describe('through the Pod', () => {
  verifies(
    'pod/container-service',
    'every call reaches the runner through delivery, streams both ways too, and refusals come back as they are',
    async () => {
      await write(awake, 'notes/a.txt', 'one\ntwo\n');
      expect(await read(awake, '/workspace/notes/a.txt')).toMatchObject({ text: 'one\ntwo\n', totalLines: 2 });
      await expect(write(awake, 'notes/a.txt', 'x', '-')).rejects.toMatchObject({
        code: status.ABORTED,
        details: 'the file exists already',
      });
      await expect(read(awake, '/etc/passwd')).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
      const data = Buffer.alloc(5_000_000, 'raw');
      expect(await writeRaw(awake, 'raw.bin', [data.subarray(0, 3_000_000), data.subarray(3_000_000)])).toMatchObject({
        sizeBytes: 5_000_000,
      });
      expect((await readRaw(awake, 'raw.bin')).equals(data)).toBe(true);
      const echo = await exec(awake, 'read x; echo "got $x"; exit 3');
      echo.call.write({ part: { $case: 'stdin', value: Buffer.from('it\n') } });
      expect([await echo.ended, echo.output()]).toEqual([{ code: 3, signal: '', timedOut: false }, 'got it\n']);
    },
  );

  test('a caller that leaves, or whose time is over, ends its command in the Pod', async () => {
    const begun = ({ output }: Running): boolean => output().endsWith('\n');
    const leaver = await exec(awake, 'echo $$; sleep 1000');
    await until(() => begun(leaver), 'its pid');
    leaver.call.cancel();
    expect((await leaver.failed).code).toBe(status.CANCELLED);
    await until(() => ended(Number(leaver.output())), 'the end of the command');
    // On a slow machine the time may be over before the command has begun: then it gets more.
    for (let deadlineMs = 1_000, seen = false; !seen; deadlineMs *= 2) {
      const late = await exec(awake, 'echo $$; sleep 1000', { deadlineMs });
      expect((await late.failed).code).toBe(status.DEADLINE_EXCEEDED);
      seen = begun(late);
      if (seen) await until(() => ended(Number(late.output())), 'the end of the command');
    }
  });

  verifies(
    'pod/pool',
    'a Pod that is killed in the middle of a call is told as that, and the one that follows it is reached at once',
    async () => {
      const sleeper = await exec(awake, 'echo begun; sleep 1000');
      await until(() => sleeper.output() === 'begun\n', 'the command');
      await runner.kill();
      expect(await sleeper.failed).toMatchObject({
        code: status.UNAVAILABLE,
        details: expect.stringContaining('went away in the middle of the call'),
      });
      runner = await RealRunner.start(bench, awake, 'pod-2');
      expect((await read(awake, 'notes/a.txt')).text).toBe('one\ntwo\n');
      const again = await exec(awake, 'echo again');
      expect([(await again.ended).code, again.output()]).toEqual([0, 'again\n']);
    },
  );
});

describe('while it sleeps', () => {
  verifies(
    'pod/asleep-files',
    'files are read, written, listed, moved and deleted on the volume, by the names its Pod would know, and nobody wakes',
    async () => {
      const { workspace } = cellPaths(bench.root, asleep);
      await write(asleep, '/workspace/plan/a.txt', 'asleep');
      expect(readFileSync(join(workspace, 'plan/a.txt'), 'utf8')).toBe('asleep');
      expect((await read(asleep, 'plan/a.txt')).text).toBe('asleep');
      const data = Buffer.alloc(5_000_000, 'z');
      await writeRaw(asleep, '/agent/shared.bin', [data.subarray(0, 2_500_000), data.subarray(2_500_000)]);
      // The agent's home is one for all its sessions: the Pod of the other sees it too.
      expect((await readRaw(awake, '/agent/shared.bin')).equals(data)).toBe(true);
      const at = { metadata: await as(asleep), deadlineMs: 60_000 };
      await unary(client, client.rename, { from: 'plan/a.txt', to: 'b.txt', replace: false }, at);
      await unary(client, client.mkdir, { path: 'plan/deep', parents: false }, at);
      const { entries } = await unary(client, client.listDir, { path: '/workspace', limit: 0, after: '' }, at);
      expect(entries.map(({ path, type }) => [path, type])).toEqual([
        ['/workspace/b.txt', 1],
        ['/workspace/plan', 2],
      ]);
      await unary(client, client.deleteFile, { path: 'plan', recursive: true }, at);
      expect(readdirSync(workspace)).toEqual(['b.txt']);
      const { info } = await stat(asleep, 'b.txt');
      expect(info).toMatchObject({ path: '/workspace/b.txt', sizeBytes: 6, mode: statSync(join(workspace, 'b.txt')).mode & 0o7777 });
      await expect(write(asleep, 'b.txt', 'x', 'another')).rejects.toMatchObject({ code: status.ABORTED });
      expect((await bench.session(asleep))?.spec.awake ?? false).toBe(false);
      expect(bench.delivery().runner(asleep)).toBeUndefined();
    },
  );

  verifies('pod/path-jail', 'the jail is the same: neither the cell nor the volume nor the machine can be seen', async () => {
    const { workspace, in: inbound } = cellPaths(bench.root, asleep);
    symlinkSync('/etc', join(workspace, 'out'));
    symlinkSync(inbound, join(workspace, 'cell'));
    mkdirSync(join(workspace, 'real'));
    writeFileSync(join(workspace, 'real/ok'), '');
    for (const path of [
      '../in/inbound.db',
      'cell/inbound.db',
      'out/passwd',
      '/etc/passwd',
      join(inbound, 'inbound.db'),
      bench.root,
      '/agent/../x',
    ]) {
      await expect(read(asleep, path)).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
      await expect(write(asleep, path, 'x')).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
      await expect(writeRaw(asleep, path, [])).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    }
    await stat(asleep, 'real/ok');
  });

  test('no more is stored than its agent may, by the sentence that an awake one is stopped with, and what is there stays', async () => {
    await bench.agent('small', { limits: { storage: '1Mi', agentStorage: '1Mi' } });
    const { session } = await bench.enqueue({ eventId: 'e3', chat: 'small' }, { agentGroup: 'small', trigger: false });
    const chunks = (bytes: number): Buffer[] => Array.from({ length: bytes / 100_000 }, () => Buffer.alloc(100_000, 'q'));
    const limitOf = (field: string) => ({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringMatching(
        new RegExp(`stores [0-9]+ bytes of the 1048576 that spec\\.limits\\.${field} of AgentGroup small allows\\. Remove files`),
      ),
    });
    await writeRaw(session, 'kept.bin', chunks(500_000));
    await expect(writeRaw(session, 'more.bin', chunks(600_000))).rejects.toMatchObject(limitOf('storage'));
    await expect(write(session, 'text', 'q'.repeat(1_100_000))).rejects.toMatchObject(limitOf('storage'));
    expect(readdirSync(cellPaths(bench.root, session).workspace)).toEqual(['kept.bin']);
    await writeRaw(session, 'kept.bin', chunks(700_000)); // in the place of the first, which makes room
    // The agent's home is counted by its own limit.
    await writeRaw(session, '/agent/home.bin', chunks(900_000));
    await expect(write(session, '/agent/more', 'q'.repeat(200_000))).rejects.toMatchObject(limitOf('agentStorage'));
    await unary(client, client.deleteFile, { path: 'kept.bin', recursive: false }, { metadata: await as(session), deadlineMs: 60_000 });
    await writeRaw(session, 'more.bin', chunks(600_000));
    expect((await bench.session(session))?.spec.awake ?? false).toBe(false);
  });

  test('commands and MCP servers are refused with what to do, a session that is not here says so, and nobody but a gateway may ask', async () => {
    const refused = await (await exec(asleep, 'true')).failed;
    expect(refused).toMatchObject({ code: status.FAILED_PRECONDITION, details: expect.stringContaining('a message to it wakes it') });
    for (const name of ['nobody', '../../etc', '']) {
      const missing = (await stat(name, '.').catch((e: unknown) => e)) as ServiceError;
      expect([missing.code, missing.metadata.get(SESSION_MISSING_HEADER)]).toEqual([status.NOT_FOUND, ['true']]);
    }
    const noFile = (await stat(asleep, 'no-such-file').catch((e: unknown) => e)) as ServiceError;
    expect([noFile.code, noFile.metadata.get(SESSION_MISSING_HEADER)]).toEqual([status.NOT_FOUND, []]);
    await expect(stat(undefined, '.')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    for (const token of [`session:${asleep}:p1`, 'role:controller'])
      await expect(stat(asleep, '.', token)).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    await expect(stat(asleep, '.', 'role:proxy')).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
  });
});
