import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { attach, containerService } from '@dovecote/proto';
import { credentials, Metadata, Server, ServerCredentials, type ServerDuplexStream, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { CERTIFICATE_NAME } from '../container-service/certificate.ts';
import type { TestCell } from '../testing/cell.ts';
import { until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';

jest.setTimeout(60_000);

type Stream = ServerDuplexStream<attach.AttachRequest, attach.AttachResponse>;

/** Delivery's end, as plain as it can be: remembers what it hears. */
class StandIn {
  readonly streams: Stream[] = [];
  readonly heard: attach.AttachRequest['message'][] = [];
  readonly tokens: string[] = [];
  #server: Server | undefined;
  port = 0;

  async listen(): Promise<void> {
    const server = new Server();
    server.addService(attach.AttachService, {
      attach: (stream: Stream) => {
        this.tokens.push(String(stream.metadata.get('authorization')[0]));
        this.streams.push(stream);
        stream.on('data', (request: attach.AttachRequest) => {
          this.heard.push(request.message);
          if (request.message?.$case === 'hello')
            stream.write({ message: { $case: 'welcome', value: { callerSecret: 'the-secret', seq: 0 } } });
        });
        stream.on('end', () => stream.end());
        stream.on('error', () => {});
      },
    });
    this.port = await new Promise((resolve, reject) =>
      server.bindAsync(`127.0.0.1:${this.port}`, ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      ),
    );
    this.#server = server;
  }

  send(message: NonNullable<attach.AttachResponse['message']>): void {
    this.streams.at(-1)?.write({ message });
  }
  of<C extends NonNullable<attach.AttachRequest['message']>['$case']>(
    kind: C,
  ): Extract<NonNullable<attach.AttachRequest['message']>, { $case: C }>['value'][] {
    return this.heard.flatMap((message) => (message?.$case === kind ? [message.value as never] : []));
  }
  close(): void {
    this.#server?.forceShutdown();
  }
}

const running = new Running();
let delivery: StandIn;
let folder: string;
let cell: TestCell;
beforeEach(async () => {
  delivery = new StandIn();
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
  test('begins with hello under the token in the file, and tells of rows and of what is being done', async () => {
    running.start(cell, flags());
    await until('hello is heard', () => delivery.of('hello').length === 1);
    expect(delivery.tokens).toEqual(['Bearer pod-token']);
    expect(delivery.of('hello')).toMatchObject([
      {
        session: 'helper-abc',
        inboundSchema: 1,
        outboundSchema: 1,
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

describe('the container service', () => {
  interface Setup {
    readonly client: containerService.ContainerServiceClient;
    readonly metadata: Metadata;
  }
  async function connect(secret = 'the-secret'): Promise<Setup> {
    running.start(cell, flags());
    await until('hello is heard', () => delivery.of('progress').length > 0);
    const [hello] = delivery.of('hello');
    const client = new containerService.ContainerServiceClient(
      hello?.containerServiceAddress ?? '',
      credentials.createSsl(Buffer.from(hello?.containerServiceCertificate ?? '')),
      { 'grpc.ssl_target_name_override': CERTIFICATE_NAME },
    );
    const metadata = new Metadata();
    metadata.set('x-dovecote-caller', secret);
    return { client, metadata };
  }
  const call = <Q, S>(
    client: Setup['client'],
    method: (request: Q, metadata: Metadata, callback: (e: ServiceError | null, response: S) => void) => unknown,
    request: Q,
    metadata: Metadata,
  ): Promise<S> =>
    new Promise((resolve, reject) => method.call(client, request, metadata, (e, response) => (e === null ? resolve(response) : reject(e))));

  test('lets in who pins its certificate and shows the secret of the stream, and nobody else', async () => {
    const { client, metadata } = await connect();
    const request = { path: '/workspace/a.txt', text: 'one\ntwo\n', expectedEtag: '', createParents: false };
    const written = await call<containerService.WriteFileRequest, containerService.WriteFileResponse>(
      client,
      client.writeFile,
      request,
      metadata,
    );
    expect(written.info).toMatchObject({ path: '/workspace/a.txt', sizeBytes: 8, mode: 0o644, type: containerService.FileInfo_Type.FILE });
    const read = await call<containerService.ReadFileRequest, containerService.ReadFileResponse>(
      client,
      client.readFile,
      { path: 'a.txt', offsetLines: 1, limitLines: 1 },
      metadata,
    );
    expect(read).toMatchObject({ text: 'two\n', totalLines: 2, info: { etag: written.info?.etag } });
    for (const secret of ['wrong', '']) {
      const other = new Metadata();
      other.set('x-dovecote-caller', secret);
      await expect(call(client, client.stat, { path: 'a.txt' }, other)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    }
    await expect(call(client, client.stat, { path: 'a.txt' }, new Metadata())).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    client.close();
  });

  test('refuses an etag that is no longer true, paths outside, and says what comes later', async () => {
    const { client, metadata } = await connect();
    const write = (fields: Partial<containerService.WriteFileRequest>) =>
      call<containerService.WriteFileRequest, containerService.WriteFileResponse>(
        client,
        client.writeFile,
        { path: 'b.txt', text: 'x', expectedEtag: '', createParents: false, ...fields },
        metadata,
      );
    const first = await write({ expectedEtag: '-' });
    await expect(write({ expectedEtag: '-' })).rejects.toMatchObject({ code: status.ABORTED });
    await write({ text: 'changed', expectedEtag: first.info?.etag ?? '' });
    await expect(write({ expectedEtag: first.info?.etag ?? '' })).rejects.toMatchObject({ code: status.ABORTED });
    await expect(write({ path: '../escape' })).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    await expect(write({ path: '/etc/passwd' })).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    await expect(write({ path: 'no/such/folder' })).rejects.toMatchObject({ code: status.NOT_FOUND });
    await write({ path: 'made/on/the/way', createParents: true });
    const list = await call<containerService.ListDirRequest, containerService.ListDirResponse>(
      client,
      client.listDir,
      { path: '/workspace', limit: 1, after: '' },
      metadata,
    );
    expect(list).toMatchObject({ entries: [{ path: '/workspace/b.txt' }], more: true });
    await expect(call(client, client.mkdir, { path: 'x', parents: false }, metadata)).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
    client.close();
  });

  test('runs a command with its input, and ends it with its stream', async () => {
    const { client, metadata } = await connect();
    const start: containerService.ExecStart = {
      command: ['sh', '-c', 'read x; echo "got $x $A"; echo oops >&2; exit 3'],
      workingDirectory: '',
      env: { A: 'b' },
      timeoutMs: 0,
      tty: false,
      jobId: '',
      detach: false,
    };
    const stream = client.exec(metadata);
    const parts: containerService.ExecResponse['part'][] = [];
    stream.on('data', (response: containerService.ExecResponse) => parts.push(response.part));
    stream.write({ part: { $case: 'start', value: start } });
    stream.write({ part: { $case: 'stdin', value: Buffer.from('input\n') } });
    await new Promise((resolve, reject) => stream.on('end', resolve).on('error', reject));
    const output = (kind: 'stdout' | 'stderr'): string =>
      parts.flatMap((part) => (part?.$case === kind ? [Buffer.from(part.value).toString()] : [])).join('');
    expect([output('stdout'), output('stderr')]).toEqual(['got input b\n', 'oops\n']);
    expect(parts.at(-1)).toEqual({ $case: 'exit', value: { code: 3, signal: '', timedOut: false } });

    const endless = client.exec(metadata);
    endless.on('error', () => {});
    endless.on('data', () => {});
    endless.write({ part: { $case: 'start', value: { ...start, command: ['sh', '-c', 'echo $$ > pid; sleep 1000'] } } });
    const { existsSync, readFileSync } = await import('node:fs');
    const pidFile = join(cell.workspace, 'pid');
    await until('it runs', () => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '');
    const pid = Number(readFileSync(pidFile, 'utf8'));
    endless.cancel();
    await until('it has ended', () => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z'));
    client.close();
  });
});
