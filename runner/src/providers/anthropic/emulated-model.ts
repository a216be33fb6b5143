/** The Messages API as `@copilotkit/aimock` plays it, and what it answers to whom. For tests only. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LLMock } from '@copilotkit/aimock';
import { PathJail } from '@dovecote/proto';
import { systemClock } from '../../lifecycle/clock.ts';
import { silentLog } from '../../lifecycle/log.ts';
import { AnthropicProvider } from './anthropic.ts';
import { ProxyStandIn } from './proxy-stand-in.ts';

export interface EmulatedModel {
  readonly mock: LLMock;
  readonly proxy: ProxyStandIn;
  readonly provider: AnthropicProvider;
  readonly tokenFile: string;
  readonly folder: string;
  close(): Promise<void>;
}

export const USAGE = { input_tokens: 12, output_tokens: 5 };

/** Our provider in front of the emulator, with the stand-in of the proxy between them. */
export async function emulatedModel(): Promise<EmulatedModel> {
  const mock = new LLMock({ port: 0 });
  const read = (path: string) => ({ name: 'read_file', arguments: JSON.stringify({ path }) });
  const reads = (userMessage: string, toolCalls: ReturnType<typeof read>[], content: string): void => {
    mock.addFixture({ match: { userMessage, hasToolResult: false }, response: { toolCalls } });
    mock.addFixture({ match: { userMessage, hasToolResult: true }, response: { content } });
  };
  const fails = (userMessage: string, status: number, type: string, retryAfter?: number): void => {
    const error = { message: 'RAW TEXT', type };
    mock.addFixture({ match: { userMessage }, response: { error, status, ...(retryAfter !== undefined && { retryAfter }) } });
  };
  reads('please read', [read('a.txt')], 'It says: the content');
  reads('read both', [read('a.txt'), read('b.txt')], 'The last says: the content of b.txt');
  mock.addFixture({ match: { userMessage: 'say hello' }, response: { content: 'Hello from the mock.', usage: USAGE } });
  mock.addFixture({
    match: { userMessage: 'speak slowly' },
    response: { content: 'one two three four' },
    chunkSize: 4,
    latency: 20,
  });
  mock.addFixture({
    match: { userMessage: 'lose the line' },
    response: { content: 'half an answer that is never finished' },
    chunkSize: 4,
    latency: 20,
    truncateAfterChunks: 3,
  });
  fails('be busy', 429, 'rate_limit_error', 2);
  fails('be overloaded', 529, 'overloaded_error');
  fails('be denied', 401, 'authentication_error');
  fails('be refused', 400, 'invalid_request_error');
  mock.addFixture({ match: { userMessage: 'take long' }, response: { content: 'too late' }, latency: 60_000 });
  await mock.start();
  const proxy = await ProxyStandIn.start(() => mock.url);
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-anthropic-'));
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'token-one\n');
  const files = new PathJail([{ alias: '/attachments', dir: folder, writable: false }]);
  return {
    mock,
    proxy,
    tokenFile,
    folder,
    provider: new AnthropicProvider({ proxy: proxy.url, tokenFile, files, clock: systemClock, log: silentLog }),
    close: async () => {
      await proxy.close();
      await mock.stop();
      rmSync(folder, { recursive: true });
    },
  };
}
