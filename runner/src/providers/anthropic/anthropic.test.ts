import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LLMock } from '@copilotkit/aimock';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { systemClock } from '../../lifecycle/clock.ts';
import { until } from '../../testing/runner-process.ts';
import { Running } from '../../testing/running.ts';
import { answerOf, collect, providerContract, request, user } from '../contract.test-suite.ts';
import { AnthropicProvider } from './anthropic.ts';
import { DEFAULT_MODEL } from './limits.ts';
import { breakStream, ProxyStandIn, sse } from './proxy-stand-in.ts';

jest.setTimeout(60_000);

interface Setup {
  readonly mock: LLMock;
  readonly proxy: ProxyStandIn;
  readonly provider: AnthropicProvider;
  readonly tokenFile: string;
  close(): Promise<void>;
}

async function setUp(): Promise<Setup> {
  const mock = new LLMock({ port: 0 });
  mock.addFixture({
    match: { userMessage: 'please read', hasToolResult: false },
    response: { toolCalls: [{ name: 'read_file', arguments: '{"path":"a.txt"}' }] },
  });
  mock.addFixture({ match: { userMessage: 'please read', hasToolResult: true }, response: { content: 'It says: the content' } });
  mock.addFixture({ match: { userMessage: 'say hello' }, response: { content: 'Hello from the mock.' } });
  mock.addFixture({
    match: { userMessage: 'be busy' },
    response: { error: { message: 'slow down', type: 'rate_limit_error' }, status: 429, retryAfter: 2 },
  });
  mock.addFixture({
    match: { userMessage: 'be refused' },
    response: { error: { message: 'RAW TEXT', type: 'invalid_request_error' }, status: 400 },
  });
  mock.addFixture({ match: { userMessage: 'take long' }, response: { content: 'too late' }, latency: 60_000 });
  await mock.start();
  const proxy = await ProxyStandIn.start(() => mock.url);
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-anthropic-'));
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'token-one\n');
  return {
    mock,
    proxy,
    tokenFile,
    provider: new AnthropicProvider({ proxy: proxy.url, tokenFile, clock: systemClock }),
    close: async () => {
      await proxy.close();
      await mock.stop();
      rmSync(folder, { recursive: true });
    },
  };
}

providerContract('anthropic', async () => {
  const setup = await setUp();
  return {
    provider: setup.provider,
    says: { plain: 'say hello', tool: 'please read', busy: 'be busy', refused: 'be refused', hang: 'take long' },
    close: () => setup.close(),
  };
});

describe('the anthropic provider', () => {
  let setup: Setup;
  beforeEach(async () => {
    setup = await setUp();
  });
  afterEach(() => setup.close());

  test('asks the proxy with the Pod token as it is in the file at that moment, and sends no other credential', async () => {
    await answerOf(setup.provider, request([user('say hello')]));
    writeFileSync(setup.tokenFile, 'token-two\n');
    await answerOf(setup.provider, request([user('say hello')]));
    expect(setup.proxy.seen.map((seen) => [seen.url, seen.headers.authorization, seen.headers['x-api-key']])).toEqual([
      ['/anthropic/v1/messages', 'Bearer token-one', undefined],
      ['/anthropic/v1/messages', 'Bearer token-two', undefined],
    ]);
  });

  test('marks what stays the same for the cache, and passes model and effort on', async () => {
    await answerOf(setup.provider, request([user('say hello')]));
    const [seen] = setup.proxy.seen;
    const cached = { cache_control: { type: 'ephemeral' } };
    expect(seen?.body).toMatchObject({
      model: DEFAULT_MODEL,
      stream: true,
      output_config: { effort: 'medium' },
      system: [{ text: 'You are a test.', ...cached }],
      tools: [{ name: 'read_file', ...cached }],
      messages: [{ role: 'user', content: [{ type: 'text', ...cached }] }],
    });
  });

  test("never retries by itself: retries are the turn loop's, which survive the process", async () => {
    setup.mock.nextRequestError(529, { message: 'overloaded', type: 'overloaded_error' });
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ transient: true, reason: 'Overloaded' });
    expect(setup.proxy.seen).toHaveLength(1);
  });

  test.each([
    [401, 'Unauthenticated', false],
    [403, 'Forbidden', false],
    [404, 'NoSuchModel', false],
    [413, 'TooLarge', false],
    [500, 'Unavailable', true],
    [503, 'Unavailable', true],
  ])('knows what %i means', async (status, reason, transient) => {
    setup.proxy.fault = (response) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end('{"type":"error","error":{"type":"x","message":"RAW"}}');
      return true;
    };
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ reason, transient });
  });

  test('takes a stream that breaks for a network failure, not for a short answer', async () => {
    setup.proxy.fault = breakStream;
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ transient: true, reason: 'Network' });
    setup.proxy.fault = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(sse('message_start', { message: { model: 'm', usage: {}, content: [] } }));
      return true;
    };
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ transient: true, reason: 'Network' });
  });

  test('takes an error event inside a stream for what its type says', async () => {
    setup.proxy.fault = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(sse('error', { error: { type: 'overloaded_error', message: 'RAW' } }));
      return true;
    };
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ transient: true, reason: 'Overloaded' });
  });

  test('keeps thinking with its signature, malformed tool input as text, and counts the cache', async () => {
    setup.proxy.fault = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const usage = { input_tokens: 10, output_tokens: 1, cache_read_input_tokens: 70, cache_creation_input_tokens: 20 };
      response.write(sse('message_start', { message: { model: 'the-model', usage, content: [] } }));
      response.write(sse('content_block_start', { index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } }));
      response.write(sse('content_block_delta', { index: 0, delta: { type: 'thinking_delta', thinking: 'hm' } }));
      response.write(sse('content_block_delta', { index: 0, delta: { type: 'signature_delta', signature: 'sig' } }));
      response.write(sse('content_block_start', { index: 1, content_block: { type: 'tool_use', id: 'u1', name: 'read_file', input: {} } }));
      response.write(sse('content_block_delta', { index: 1, delta: { type: 'input_json_delta', partial_json: '{"path": "a' } }));
      response.write(sse('message_delta', { delta: { stop_reason: 'max_tokens' }, usage: { output_tokens: 42 } }));
      response.end(sse('message_stop', {}));
      return true;
    };
    const answer = await answerOf(setup.provider, request([user('say hello')]));
    expect(answer).toEqual({
      type: 'answer',
      stop: 'length',
      model: 'the-model',
      usage: { inputTokens: 10, outputTokens: 42, cacheReadTokens: 70, cacheWriteTokens: 20 },
      blocks: [
        { type: 'thinking', text: 'hm', signature: 'sig' },
        { type: 'tool_use', id: 'u1', name: 'read_file', input: '{"path": "a' },
      ],
    });
    // It goes back in a form that the API takes.
    setup.proxy.fault = () => false;
    await collect(
      setup.provider,
      request([
        user('please read'),
        { role: 'assistant', turn: 't1', blocks: answer.blocks },
        { role: 'tool', turn: 't1', blocks: [{ type: 'tool_result', toolUseId: 'u1', text: 'bad input', isError: true }] },
      ]),
    );
    expect(setup.proxy.seen.at(-1)?.body['messages']).toMatchObject([
      { role: 'user' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'hm', signature: 'sig' },
          { type: 'tool_use', id: 'u1', input: { malformed: '{"path": "a' } },
        ],
      },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'u1', is_error: true }] },
    ]);
  });
});

describe('a runner with the anthropic provider', () => {
  let setup: Setup;
  const running = new Running();
  beforeEach(async () => {
    setup = await setUp();
  });
  afterEach(async () => {
    await running.close();
    await setup.close();
  });
  const flags = (): string[] => ['--proxy', `${setup.proxy.url}/`, '--proxy-token', setup.tokenFile];

  test('works through a tool loop and records the usage of each answer', async () => {
    const cell = running.cell({ agent: { provider: 'anthropic' } });
    cell.say('please read');
    running.start(cell, flags());
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['It says: the content']);
    expect(cell.history().map((row) => row.role)).toEqual(['user', 'assistant', 'tool', 'assistant']);
    expect(cell.history().filter((row) => row.usage !== null)).toHaveLength(2);
  });

  test('gets through a limit, an overload and a broken stream; people see the answer alone', async () => {
    const cell = running.cell({ agent: { provider: 'anthropic' } });
    setup.proxy.fault = (response, nth) => {
      if (nth === 3) return breakStream(response);
      if (nth > 2) return false;
      response.writeHead(nth === 1 ? 429 : 529, { 'content-type': 'application/json', ...(nth === 1 ? { 'retry-after': '0.2' } : {}) });
      response.end('{"type":"error","error":{"type":"x","message":"RAW"}}');
      return true;
    };
    const seq = cell.say('say hello');
    running.start(cell, flags());
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['Hello from the mock.']);
    expect(cell.acks()).toMatchObject([{ in_seq: seq, state: 'done', tries: 1 }]);
    expect(setup.proxy.seen).toHaveLength(4);
  });

  test('says in words of ours that it is refused', async () => {
    const cell = running.cell({ agent: { provider: 'anthropic' } });
    cell.say('be refused');
    running.start(cell, flags());
    await until('it is refused', () => cell.acks()[0]?.state === 'failed');
    expect(cell.acks()[0]?.error).toContain('The model refused this request');
    expect(cell.acks()[0]?.error).not.toContain('RAW');
    expect(cell.turns()).toMatchObject([{ state: 'failed', error: 'BadRequest: the model API answered 400 (invalid_request_error)' }]);
  });
});
