import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { AGENT } from '../../testing/cell.ts';
import { answerOf, providerContract, request, user } from '../contract.test-suite.ts';
import type { TranscriptMessage } from '../provider.ts';
import { type EmulatedModel, emulatedModel, USAGE } from './emulated-model.ts';
import { DEFAULT_MODEL } from './models.ts';
import { refuseWith, sse, streamOf } from './proxy-stand-in.ts';

const brokenInput = streamOf(
  sse('message_start', { message: { model: 'm', usage: USAGE, content: [] } }),
  sse('content_block_start', { index: 0, content_block: { type: 'tool_use', id: 'u1', name: 'read_file', input: {} } }),
  sse('content_block_delta', { index: 0, delta: { type: 'input_json_delta', partial_json: '{"path": "a' } }),
  sse('message_delta', { delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 5 } }),
  sse('message_stop', {}),
);

providerContract('anthropic', async () => {
  const setup = await emulatedModel();
  // The emulator mends such input.
  setup.proxy.fault = (response, nth) =>
    JSON.stringify(setup.proxy.seen.at(-1)?.body).includes('break the input') && brokenInput(response, nth);
  return {
    provider: setup.provider,
    says: {
      plain: 'say hello',
      tool: 'please read',
      several: 'read both',
      malformed: 'break the input',
      slow: 'speak slowly',
      busy: 'be busy',
      overloaded: 'be overloaded',
      denied: 'be denied',
      refused: 'be refused',
      broken: 'lose the line',
      hang: 'take long',
    },
    close: () => setup.close(),
  };
});

describe('the anthropic provider', () => {
  let setup: EmulatedModel;
  beforeEach(async () => {
    setup = await emulatedModel();
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

  test('asks for what the model takes: the default one, effort, no beta', async () => {
    await answerOf(setup.provider, request([user('say hello')]));
    const [seen] = setup.proxy.seen;
    expect(seen?.body).toMatchObject({ model: DEFAULT_MODEL, stream: true, output_config: { effort: 'medium' } });
    expect(seen?.body).not.toHaveProperty('thinking');
    expect(seen?.headers['anthropic-beta']).toBeUndefined();
  });

  test("never retries by itself: retries are the turn loop's, which survive the process", async () => {
    setup.mock.nextRequestError(529, { message: 'overloaded', type: 'overloaded_error' });
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ transient: true, reason: 'Overloaded' });
    expect(setup.proxy.seen).toHaveLength(1);
  });

  test.each([
    [401, 'Unauthenticated', false],
    [402, 'Forbidden', false],
    [403, 'Forbidden', false],
    [404, 'NoSuchModel', false],
    [408, 'Unavailable', true],
    [409, 'Unavailable', true],
    [413, 'TooLarge', false],
    [422, 'BadRequest', false],
    [500, 'Unavailable', true],
    [502, 'Unavailable', true],
    [503, 'Unavailable', true],
  ])('knows what %i means, whatever its words are', async (status, reason, transient) => {
    setup.proxy.fault = refuseWith(status, 'x');
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ reason, transient, sentence: undefined });
  });

  test.each([
    [{ 'retry-after-ms': '1500', 'retry-after': '9' }, 1_500],
    [{ 'retry-after': '3' }, 3_000],
    [{ 'retry-after': '999999999' }, 3_600_000],
    [{ 'retry-after': 'soon' }, undefined],
    [{}, undefined],
  ])('waits as long as the API asks for: %j', async (headers, retryAfterMs) => {
    setup.proxy.fault = refuseWith(429, 'rate_limit_error', headers);
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ reason: 'RateLimited', retryAfterMs });
  });

  test.each([
    [402, 'budget_exhausted'],
    [403, 'permission_error'],
  ])("hands on the proxy's own sentence with %i, and nobody else's", async (status, type) => {
    setup.proxy.fault = refuseWith(status, type, { 'x-dovecote-proxy': 'refused' }, 'The budget of this agent is used up until Monday.');
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({
      transient: false,
      reason: 'Forbidden',
      sentence: 'The budget of this agent is used up until Monday.',
    });
    setup.proxy.fault = refuseWith(status, type, {}, 'Words of the API.');
    await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ sentence: undefined });
  });

  describe('when the API refuses what may be fine', () => {
    const thought: TranscriptMessage = {
      role: 'assistant',
      turn: 't0',
      blocks: [
        { type: 'thinking', text: 'hm', signature: 'of another conversation' },
        { type: 'text', text: 'Hi.' },
      ],
    };
    const picture: TranscriptMessage = {
      role: 'user',
      turn: 't1',
      blocks: [
        { type: 'text', text: 'say hello' },
        { type: 'attachment', path: '/attachments/cat.png', mimeType: 'image/png', name: 'cat.png' },
      ],
    };

    test.each([400, 413])('with %i, it is asked again without thinking, files and options', async (status) => {
      writeFileSync(join(setup.folder, 'cat.png'), '\x89PNG\r\n\x1a\nbroken', 'latin1');
      setup.proxy.fault = (response, nth) => nth === 1 && refuseWith(status, 'invalid_request_error')(response, nth);
      const answer = await answerOf(setup.provider, { ...request([user('before'), thought, picture]), thinking: 'adaptive' });
      expect(answer.blocks).toEqual([{ type: 'text', text: 'Hello from the mock.' }]);
      const [first, second] = setup.proxy.seen.map(({ body }) => body);
      expect(JSON.stringify(first)).toContain('of another conversation');
      expect(first).toMatchObject({ thinking: { type: 'adaptive' }, output_config: { effort: 'medium' } });
      expect(JSON.stringify(first)).toContain('image/png');
      expect(JSON.stringify(second)).not.toMatch(/of another conversation|image\/png|output_config|"thinking"/);
      expect(JSON.stringify(second)).toContain('cat.png is not shown');
    });

    test('and refuses it again, that is the answer; an overload is none of this', async () => {
      setup.proxy.fault = refuseWith(400, 'invalid_request_error');
      await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ reason: 'BadRequest' });
      expect(setup.proxy.seen).toHaveLength(2);
      setup.proxy.fault = refuseWith(529, 'overloaded_error');
      await expect(answerOf(setup.provider, request([user('say hello')]))).rejects.toMatchObject({ reason: 'Overloaded' });
      expect(setup.proxy.seen).toHaveLength(3);
    });
  });

  describe('with the public API', () => {
    const agent = { serverCompaction: true } as const;

    test('lets it sum up long conversations and drop thinking that no longer fits', async () => {
      await answerOf(setup.provider, { ...request([user('say hello')]), ...agent });
      const [seen] = setup.proxy.seen;
      expect(seen?.headers['anthropic-beta']).toBe('compact-2026-01-12,thinking-binding-controls-2026-08-01');
      expect(seen?.body).toMatchObject({
        context_management: { edits: [{ type: 'compact_20260112', trigger: { type: 'input_tokens', value: 150_000 } }] },
        thinking: { type: 'adaptive', block_binding: { prefix_mismatch_behavior: 'drop_block' } },
      });
      expect(seen?.body).not.toHaveProperty('betas');
    });

    test('gets its summary back unchanged, counts what it cost, and sends nothing that was before it', async () => {
      const summary = { type: 'compaction', content: 'They spoke of birds.', encrypted_content: 'opaque', signature: 'sig' };
      setup.proxy.fault = streamOf(
        sse('message_start', { message: { model: 'm', usage: { input_tokens: 1, output_tokens: 0 }, content: [] } }),
        sse('content_block_start', { index: 0, content_block: { type: 'compaction', content: null, encrypted_content: null } }),
        sse('content_block_delta', {
          index: 0,
          delta: { type: 'compaction_delta', content: summary.content, encrypted_content: summary.encrypted_content },
        }),
        sse('content_block_delta', { index: 0, delta: { type: 'signature_delta', signature: 'sig' } }),
        sse('content_block_start', { index: 1, content_block: { type: 'text', text: 'Yes.' } }),
        sse('message_delta', {
          delta: { stop_reason: 'end_turn' },
          usage: {
            input_tokens: 300,
            output_tokens: 20,
            cache_read_input_tokens: 0,
            cache_creation_input_tokens: 0,
            iterations: [
              {
                type: 'compaction',
                input_tokens: 4_000,
                output_tokens: 500,
                cache_read_input_tokens: 150_000,
                cache_creation_input_tokens: 0,
              },
              { type: 'message', input_tokens: 300, output_tokens: 20, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 },
            ],
          },
        }),
        sse('message_stop', {}),
      );
      const answer = await answerOf(setup.provider, { ...request([user('of birds')]), ...agent });
      expect(answer.blocks[0]).toEqual({ type: 'opaque', provider: 'anthropic', value: summary });
      expect(answer.usage).toEqual({ inputTokens: 4_300, outputTokens: 520, cacheReadTokens: 150_000, cacheWriteTokens: 0 });
      setup.proxy.fault = () => false;
      const later: readonly TranscriptMessage[] = [
        user('of birds'),
        { role: 'assistant', turn: 't1', blocks: [{ type: 'text', text: 'before it' }, ...answer.blocks] },
        user('say hello'),
      ];
      await answerOf(setup.provider, { ...request(later), ...agent });
      expect(setup.proxy.seen.at(-1)?.body['messages']).toMatchObject([
        { role: 'assistant', content: [summary, { type: 'text', text: 'Yes.' }] },
        { role: 'user', content: [{ type: 'text' }] },
      ]);
      // Where the API is another one by now, the words are still of use.
      await answerOf(setup.provider, request(later));
      expect(setup.proxy.seen.at(-1)?.body['messages']).toMatchObject([
        { role: 'user', content: [{ type: 'text', text: '[Summary of the conversation up to here]\nThey spoke of birds.' }] },
        { role: 'assistant', content: [{ type: 'text', text: 'Yes.' }] },
        { role: 'user' },
      ]);
    });

    test('tells the runner whether it need not sum up itself', () => {
      const config = { ...AGENT, provider: 'anthropic' };
      expect(setup.provider.compactsItself({ ...config, serverCompaction: true })).toBe(true);
      expect(setup.provider.compactsItself({ ...config, serverCompaction: true, model: 'claude-haiku-4-5-20251001' })).toBe(false);
      expect(setup.provider.compactsItself({ ...config, serverCompaction: false })).toBe(false);
      expect(setup.provider.compactsItself(config)).toBe(false);
    });
  });
});
