import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { answerOf, collect, request, user } from '../contract.test-suite.ts';
import { type EmulatedModel, emulatedModel } from './emulated-model.ts';
import { breakStream, sse, streamOf } from './proxy-stand-in.ts';

describe('a stream of the Messages API', () => {
  let setup: EmulatedModel;
  beforeEach(async () => {
    setup = await emulatedModel();
  });
  afterEach(() => setup.close());

  test('that breaks, ends early or is no stream is a network failure, not for a short answer', async () => {
    const start = sse('message_start', { message: { model: 'm', usage: {}, content: [] } });
    for (const fault of [
      breakStream,
      streamOf(start),
      streamOf(`${start}event: content_block_delta\ndata: {"type": "content_bl\n\n`),
      streamOf('<html>a portal</html>'),
      streamOf(''),
    ]) {
      setup.proxy.fault = fault;
      await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ transient: true, reason: 'Network' });
    }
  });

  test.each([
    ['overloaded_error', { transient: true, reason: 'Overloaded' }],
    ['api_error', { transient: true, reason: 'Unavailable' }],
    ['rate_limit_error', { transient: true, reason: 'RateLimited' }],
    ['authentication_error', { transient: false, reason: 'Unauthenticated' }],
  ])('may bring the error event %s, which is what its type says', async (type, failure) => {
    setup.proxy.fault = streamOf(
      sse('message_start', { message: { model: 'm', usage: {}, content: [] } }),
      sse('error', { error: { type, message: 'RAW' } }),
    );
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject(failure);
  });

  test.each([
    ['end_turn', 'end'],
    ['tool_use', 'tools'],
    ['max_tokens', 'length'],
    ['pause_turn', 'paused'],
    ['refusal', 'refused'],
    ['model_context_window_exceeded', 'context'],
    ['of_the_future', 'end'],
  ])('says why the answer stopped: %s; it may be empty', async (reason, stop) => {
    setup.proxy.fault = streamOf(
      sse('message_start', { message: { model: 'm', usage: {}, content: [] } }),
      sse('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
      sse('message_delta', { delta: { stop_reason: reason }, usage: {} }),
      sse('message_stop', {}),
    );
    expect(await answerOf(setup.provider, request([user('say hello')]))).toMatchObject({ stop, blocks: [] });
  });

  test('becomes thinking with its signature and malformed tool input as text; cache and reasoning are counted', async () => {
    const figures = { input_tokens: 10, output_tokens: 1, cache_read_input_tokens: 70, cache_creation_input_tokens: 20 };
    setup.proxy.fault = streamOf(
      sse('message_start', { message: { model: 'the-model', usage: figures, content: [] } }),
      sse('content_block_start', { index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } }),
      sse('content_block_delta', { index: 0, delta: { type: 'thinking_delta', thinking: 'hm' } }),
      sse('content_block_delta', { index: 0, delta: { type: 'signature_delta', signature: 'sig' } }),
      sse('content_block_start', { index: 1, content_block: { type: 'tool_use', id: 'u1', name: 'read_file', input: {} } }),
      sse('content_block_delta', { index: 1, delta: { type: 'input_json_delta', partial_json: '{"path": "a' } }),
      sse('message_delta', {
        delta: { stop_reason: 'max_tokens' },
        usage: { output_tokens: 42, output_tokens_details: { thinking_tokens: 30 } },
      }),
      sse('message_stop', {}),
    );
    const answer = await answerOf(setup.provider, request([user('say hello')]));
    expect(answer).toEqual({
      type: 'answer',
      stop: 'length',
      model: 'the-model',
      usage: { inputTokens: 10, outputTokens: 42, cacheReadTokens: 70, cacheWriteTokens: 20, reasoningTokens: 30 },
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

  test('may hold blocks that we know nothing of: they go back as they came, whatever was streamed into them', async () => {
    setup.proxy.fault = streamOf(
      sse('message_start', { message: { model: 'm', usage: {}, content: [] } }),
      sse('content_block_start', { index: 0, content_block: { type: 'redacted_thinking', data: 'xyz' } }),
      sse('content_block_start', {
        index: 5_000_000_000,
        content_block: { type: 'server_tool_use', id: 's1', name: 'web_search', input: {} },
      }),
      sse('content_block_delta', { index: 5_000_000_000, delta: { type: 'input_json_delta', partial_json: '{"query":"birds"}' } }),
      sse('content_block_delta', { index: 7, delta: { type: 'text_delta', text: 'of no block' } }),
      sse('event_of_the_future', { index: 0 }),
      sse('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 1 } }),
      sse('message_stop', {}),
    );
    const { blocks } = await answerOf(setup.provider, request([user('say hello')]));
    const came = [
      { type: 'redacted_thinking', data: 'xyz' },
      { type: 'server_tool_use', id: 's1', name: 'web_search', input: { query: 'birds' } },
    ];
    expect(blocks).toEqual(came.map((value) => ({ type: 'opaque', provider: 'anthropic', value })));
    setup.proxy.fault = () => false;
    await collect(setup.provider, request([user('say hello'), { role: 'assistant', turn: 't1', blocks }, user('say hello')]));
    expect(setup.proxy.seen.at(-1)?.body['messages']).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: came },
      { role: 'user' },
    ]);
  });

  test('without an end is given up before it fills the process', async () => {
    const piece = sse('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'x'.repeat(1_000_000) } });
    setup.proxy.fault = streamOf(
      sse('message_start', { message: { model: 'm', usage: {}, content: [] } }),
      sse('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
      ...Array<string>(9).fill(piece),
    );
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ transient: true, reason: 'Unavailable' });
  });
});
