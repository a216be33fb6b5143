import { attach } from '@dovecote/proto';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';

type Stream = ServerDuplexStream<attach.AttachRequest, attach.AttachResponse>;

/** Delivery's end of the Attach stream, as plain as it can be: remembers what it hears. For tests only. */
export class DeliveryStandIn {
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
