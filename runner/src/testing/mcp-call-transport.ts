import type { containerService } from '@dovecote/proto';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';

type Call = ClientDuplexStream<containerService.McpRequest, containerService.McpResponse>;

/** The reference client's way through an Mcp call. Counts what it is made of; for tests only. */
export class McpCallTransport implements Transport {
  readonly #call: Call;
  readonly #start: containerService.McpStart;
  readonly received: JSONRPCMessage[] = [];
  exit: containerService.McpExit | undefined;
  failure: { readonly code: number; readonly details: string } | undefined;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;

  constructor(call: Call, start: Partial<containerService.McpStart>) {
    this.#call = call;
    this.#start = { server: '', command: [], env: {}, idleTimeoutMs: 0, ...start };
  }

  async start(): Promise<void> {
    this.#call.on('data', ({ part }: containerService.McpResponse) => {
      if (part?.$case === 'exit') this.exit = part.value;
      if (part?.$case !== 'message') return;
      const message = JSON.parse(part.value) as JSONRPCMessage;
      this.received.push(message);
      this.onmessage?.(message);
    });
    this.#call.on('error', (error: Error & { code: number; details: string }) => {
      this.failure = error;
      this.onclose?.();
    });
    this.#call.on('end', () => this.onclose?.());
    this.#call.write({ part: { $case: 'start', value: this.#start } });
  }

  async send(message: JSONRPCMessage): Promise<void> {
    this.say(JSON.stringify(message));
  }

  /** As it is. */
  say(text: string): void {
    this.#call.write({ part: { $case: 'message', value: text } });
  }

  async close(): Promise<void> {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }
}
