/** A caller of a real runner's ContainerService, as delivery is one: pinned certificate, the stream's secret. For tests only. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type attach, CALLER_HEADER, CERTIFICATE_NAME, containerService } from '@dovecote/proto';
import {
  type CallOptions,
  type ChannelCredentials,
  type ClientDuplexStream,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import type { TestCell } from './cell.ts';
import { DeliveryStandIn } from './delivery-stand-in.ts';
import { type RunnerProcess, until } from './runner-process.ts';
import type { Running } from './running.ts';

type Unary<Q, S> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (e: ServiceError | null, response: S) => void,
) => ClientUnaryCall;
type ExecCall = ClientDuplexStream<containerService.ExecRequest, containerService.ExecResponse>;

export class ServiceCaller {
  readonly address: string;
  readonly credentials: ChannelCredentials;
  readonly options: { readonly 'grpc.ssl_target_name_override': string } = { 'grpc.ssl_target_name_override': CERTIFICATE_NAME };
  readonly client: containerService.ContainerServiceClient;
  readonly metadata: Metadata = new Metadata();
  readonly runner: RunnerProcess;
  readonly delivery: DeliveryStandIn;
  readonly #folder: string;

  private constructor(hello: attach.Hello, runner: RunnerProcess, delivery: DeliveryStandIn, folder: string) {
    this.address = hello.containerServiceAddress;
    this.credentials = credentials.createSsl(Buffer.from(hello.containerServiceCertificate));
    this.client = new containerService.ContainerServiceClient(this.address, this.credentials, this.options);
    this.runner = runner;
    this.delivery = delivery;
    this.#folder = folder;
    this.metadata.set(CALLER_HEADER, 'the-secret');
  }

  static async of(running: Running, cell: TestCell): Promise<ServiceCaller> {
    const delivery = new DeliveryStandIn();
    await delivery.listen();
    const folder = mkdtempSync(join(tmpdir(), 'dovecote-caller-'));
    writeFileSync(join(folder, 'token'), 'pod-token\n');
    const runner = running.start(cell, ['--attach', `127.0.0.1:${delivery.port}`, '--token', join(folder, 'token')]);
    // The secret is there before the first progress is said.
    await until('the runner is attached', () => delivery.of('progress').length > 0, 60_000).catch((e: unknown) => {
      throw new Error(`${(e as Error).message}\n${runner.log}`);
    });
    const [hello] = delivery.of('hello');
    if (hello === undefined) throw new Error('a runner that is attached has said hello');
    return new ServiceCaller(hello, runner, delivery, folder);
  }

  call<Q, S>(method: Unary<Q, S>, request: Q, metadata: Metadata = this.metadata): Promise<S> {
    return new Promise((resolve, reject) =>
      method.call(this.client, request, metadata, {}, (e, response) => (e === null ? resolve(response) : reject(e))),
    );
  }

  async readRaw(path: string, offset = 0, length = 0): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const { chunk } of this.client.readRaw(
      { path, offset, length },
      this.metadata,
    ) as AsyncIterable<containerService.ReadRawResponse>)
      chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  }

  writeRaw(
    info: Partial<containerService.WriteRawInfo> & { readonly path: string },
    chunks: Iterable<Buffer>,
  ): Promise<containerService.FileInfo | undefined> {
    return new Promise((resolve, reject) => {
      const stream = this.client.writeRaw(this.metadata, (e, response) => (e === null ? resolve(response.info) : reject(e)));
      stream.on('error', () => {}); // the callback has it
      stream.write({ part: { $case: 'info', value: { mode: 0, expectedEtag: '', createParents: false, ...info } } });
      for (const chunk of chunks) stream.write({ part: { $case: 'chunk', value: chunk } });
      stream.write({ part: { $case: 'commit', value: true } });
      stream.end();
    });
  }

  exec(start: Partial<containerService.ExecStart>): ExecStream {
    return new ExecStream(this.client.exec(this.metadata), start);
  }

  close(): void {
    this.client.close();
    this.delivery.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** One Exec call and what came of it. */
export class ExecStream {
  readonly call: ExecCall;
  readonly parts: NonNullable<containerService.ExecResponse['part']>[] = [];
  /** resolves with the last part; rejects with the status */
  readonly ended: Promise<containerService.ExecExit>;

  constructor(call: ExecCall, start: Partial<containerService.ExecStart>) {
    this.call = call;
    const whole = {
      command: [],
      workingDirectory: '',
      env: {},
      timeoutMs: 0,
      tty: false,
      jobId: '',
      detach: false,
      receivedBytes: 0,
      ...start,
    };
    this.send({ $case: 'start', value: whole });
    this.ended = new Promise((resolve, reject) => {
      call.on('data', ({ part }: containerService.ExecResponse) => {
        if (part !== undefined) this.parts.push(part);
      });
      call.on('error', reject);
      call.on('end', () => {
        const last = this.parts.at(-1);
        if (last?.$case === 'exit') resolve(last.value);
      });
    });
    this.ended.catch(() => {}); // for those who do not look
  }

  send(part: NonNullable<containerService.ExecRequest['part']>): void {
    this.call.write({ part });
  }

  type(text: string): void {
    this.send({ $case: 'stdin', value: Buffer.from(text) });
  }

  output(kind: 'stdout' | 'stderr' = 'stdout'): string {
    return Buffer.concat(this.parts.flatMap((part) => (part.$case === kind ? [Buffer.from(part.value)] : []))).toString();
  }

  get jobId(): string {
    const [first] = this.parts;
    return first?.$case === 'jobId' ? first.value : '';
  }
}
