/** `dovecote mcp`: an MCP server in the Pod of an awake session, for any MCP client that starts its servers as commands. */

import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { containerService as proto } from '@dovecote/proto';
import { CommandError } from './api-client.ts';
import { SessionStream } from './session-stream.ts';

export interface McpOptions {
  readonly server: { readonly url: string; readonly token: string };
  readonly session: string;
  readonly start: proto.McpStart;
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly sleep: (ms: number) => Promise<void>;
}

/** One JSON-RPC message a line, both ways, until either side ends. Resolves with an exit code; rejects with CommandError. */
export async function mcpInSession({ server, session, start, stdin, stdout, stderr, sleep }: McpOptions): Promise<number> {
  let exit: proto.McpExit | undefined;
  const onMessage = (message: Uint8Array): void => {
    const { part } = proto.McpResponse.decode(message);
    if (part?.$case === 'message') stdout.write(`${part.value}\n`);
    else if (part?.$case === 'exit') exit = part.value;
  };
  const stream = new SessionStream(server, `/api/sessions/${encodeURIComponent(session)}/mcp`, { onMessage, sleep });
  const say = (part: NonNullable<proto.McpRequest['part']>): Promise<void> => stream.send(proto.McpRequest.encode({ part }).finish());
  const feed = async (): Promise<void> => {
    await say({ $case: 'start', value: start });
    for await (const line of createInterface({ input: stdin })) if (line.trim() !== '') await say({ $case: 'message', value: line });
    await stream.end();
  };
  void feed().catch(() => {}); // it is over, which `ended` tells
  try {
    await stream.ended;
  } finally {
    stdin.destroy();
  }
  if (exit === undefined) throw new CommandError('the connection ended before the MCP server did');
  if (exit.reason === 'Ended') return 0;
  stderr.write(`the MCP server ended: ${exit.reason}${exit.signal === '' ? '' : `, by ${exit.signal}`}\n${exit.stderrTail}`);
  return 1;
}
