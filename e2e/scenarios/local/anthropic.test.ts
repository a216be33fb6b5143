import { readFileSync } from 'node:fs';
import type { Usage } from '@dovecote/proto';
import { expect } from '@jest/globals';
import { MockModelWire } from '../../emulators/mock-model-wire.ts';
import { ModelEmulator } from '../../emulators/model.ts';
import { type LocalChat, LocalMode } from '../../harness/local-mode.ts';
import { manifest, secret, webAgent } from '../../harness/objects.ts';
import { PATIENT_MS, stage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const KEY = 'sk-not-for-the-pod';
const STORY = 'Once upon a time there was a house with many holes, and each of the holes was the home of one bird.';

const claude = stage(async () => {
  const model = await ModelEmulator.start('127.0.0.1');
  const { mock } = model;
  mock.addFixture({
    match: { systemMessage: 'Name the conversation' },
    response: { content: 'Of birds', usage: { input_tokens: 3, output_tokens: 2 } },
  });
  mock.addFixture({
    match: { userMessage: 'weather', hasToolResult: false },
    response: {
      toolCalls: [
        { name: 'write_file', arguments: '{"path":"w.txt","content":"sunny"}' },
        { name: 'read_file', arguments: '{"path":"missing.txt"}' },
      ],
      usage: { input_tokens: 101, output_tokens: 41 },
    },
  });
  mock.addFixture({
    match: { userMessage: 'weather', hasToolResult: true },
    response: { content: 'It is sunny.', usage: { input_tokens: 205, output_tokens: 17 } },
  });
  mock.addFixture({
    match: { userMessage: 'story' },
    response: { content: STORY, usage: { input_tokens: 309, output_tokens: 90 } },
    chunkSize: 10,
    latency: 60,
  });
  const wire = await MockModelWire.start(model.baseURL);
  const house = await LocalMode.start({
    manifests: {
      ...webAgent(),
      ...secret('anthropic', { 'api-key': KEY }),
      ...manifest('AgentGroup', 'assistant', {
        provider: { type: 'anthropic', anthropic: { baseURL: wire.url, credentialsRef: { name: 'anthropic' } } },
        model: 'claude-opus-5-5',
        effort: 'high',
        thinking: 'adaptive',
        instructions: 'You are a test.',
      }),
    },
  });
  return {
    wire,
    house,
    dispose: async () => {
      await house.dispose();
      await wire.close();
      await model.close();
    },
  };
});

/** Requests of turns: what is asked for a title has no tools. */
const steps = (wire: MockModelWire) => wire.asked.filter(({ body }) => 'tools' in body);

/** What the API's cache goes by, up to where a later request may go on. */
function prefix({ tools, system, messages }: Record<string, unknown>): string {
  const text = JSON.stringify([tools, system, messages], (key, value: unknown) => (key === 'cache_control' ? undefined : value));
  return text.slice(0, -']]'.length);
}

async function usageRows(house: LocalMode, chat: LocalChat): Promise<readonly { model: string; usage: Usage }[]> {
  const session = await chat.session();
  return house.files
    .outbound<{ model: string; usage: string }>(session, 'SELECT model, usage FROM history WHERE usage IS NOT NULL ORDER BY id')
    .map(({ model, usage }) => ({ model, usage: JSON.parse(usage) as Usage }));
}

verifies(
  'turn/provider-anthropic',
  'the Messages API through the proxy: a tool loop, an answer that grows while it comes, a limit that passes, requests that begin with the same bytes, and no key in the runner',
  async () => {
    const { wire, house } = claude.it;
    const chat = house.chat();
    chat.rows();
    wire.refuse({ status: 429, type: 'rate_limit_error', headers: { 'retry-after': '1' } });
    await chat.ask('How is the weather?', 'It is sunny.');
    const session = await chat.session();
    expect(readFileSync(`${house.files.paths(session).workspace}/w.txt`, 'utf8')).toBe('sunny');
    await chat.ask('Tell me a story.', STORY);
    expect(chat.answers()).toEqual(['It is sunny.', STORY]);
    const grown = chat.partials.filter((text) => text !== '' && text !== STORY && STORY.startsWith(text));
    expect(grown.length).toBeGreaterThan(0);

    expect(steps(wire)).toHaveLength(4);
    const bodies = steps(wire).map(({ body }) => body);
    for (const body of bodies) {
      expect(body).toMatchObject({
        model: 'claude-opus-5-5',
        stream: true,
        output_config: { effort: 'high' },
        thinking: { type: 'adaptive' },
      });
      expect(body).not.toHaveProperty('context_management'); // not the public API
      expect(JSON.stringify(body).split('cache_control').length - 1).toBeLessThanOrEqual(4);
    }
    for (const [n, body] of bodies.slice(1).entries()) expect(prefix(body).startsWith(prefix(bodies[n] ?? {}))).toBe(true);

    expect(new Set(wire.asked.map(({ headers }) => headers['x-api-key']))).toEqual(new Set([KEY]));
    const runner = await house.runner(session);
    for (const file of ['environ', 'cmdline']) expect(readFileSync(`/proc/${runner}/${file}`, 'utf8')).not.toContain(KEY);
  },
  PATIENT_MS,
);

verifies(
  'turn/usage-per-message',
  'each answer keeps the figures that the API reported for it, cache and reasoning included, and the model that gave it; together they are what was reported together',
  async () => {
    const { wire, house } = claude.it;
    const before = wire.asked.length;
    const chat = house.chat();
    await chat.ask('How is the weather?', 'It is sunny.');
    await chat.ask('Tell me a story.', STORY);
    const reported = (): readonly Usage[] => wire.asked.slice(before).flatMap(({ usage }) => (usage === undefined ? [] : [usage]));
    const rows = await until('the title is there too', async () => {
      const found = await usageRows(house, chat);
      return found.length === 4 ? found : undefined;
    });
    const inOrder = (usages: readonly Usage[]): readonly Usage[] => [...usages].sort((a, b) => a.inputTokens - b.inputTokens);
    expect(inOrder(rows.map(({ usage }) => usage))).toEqual(inOrder(reported()));
    expect(inOrder(reported()).map(({ inputTokens }) => inputTokens)).toEqual([3, 101, 205, 309]);
    for (const { model, usage } of rows) {
      expect(model).toBe('claude-opus-5-5');
      expect(usage.cacheWriteTokens).toBeGreaterThan(0);
    }
    const total = (usages: readonly Usage[], figure: keyof Usage): number => usages.reduce((sum, usage) => sum + (usage[figure] ?? 0), 0);
    for (const figure of ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens', 'reasoningTokens'] as const)
      expect(
        total(
          rows.map(({ usage }) => usage),
          figure,
        ),
      ).toBe(total(reported(), figure));
  },
  PATIENT_MS,
);
