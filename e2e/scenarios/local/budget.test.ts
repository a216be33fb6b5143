/** A budget on the path of real messages: the runner asks through the proxy, delivery's ledger decides, the chat hears. */

import type { usage } from '@dovecote/proto';
import { expect } from '@jest/globals';
import { ModelEmulator } from '../../emulators/model.ts';
import { LocalMode } from '../../harness/local-mode.ts';
import { manifest, secret, webAgent } from '../../harness/objects.ts';
import { PATIENT_MS, stage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

type Budget = NonNullable<Parameters<typeof webAgent>[0]>['budget'];

const limited = stage(async () => {
  const model = await ModelEmulator.start('127.0.0.1');
  const say = (text: string, input_tokens: number, output_tokens: number) =>
    model.mock.addFixture({ match: { userMessage: text }, response: { content: `heard ${text}`, usage: { input_tokens, output_tokens } } });
  model.mock.addFixture({
    match: { systemMessage: 'Name the conversation' },
    response: { content: 'Birds', usage: { input_tokens: 3, output_tokens: 2 } },
  });
  // The latest first: the emulator looks at the last thing a person said.
  say('fourth', 1, 1);
  say('third', 1, 1);
  say('second', 600, 400);
  say('first', 4_000, 100);
  const provider = { type: 'anthropic', anthropic: { baseURL: model.baseURL, credentialsRef: { name: 'anthropic' } } } as const;
  const manifests = (budget: Budget) => ({
    ...webAgent(),
    ...secret('anthropic', { 'api-key': 'sk-test' }),
    ...manifest('AgentGroup', 'assistant', { provider, model: 'claude-test', ...(budget && { budget }) }),
  });
  const house = await LocalMode.start({ manifests: manifests({ tokens: 5_000 }) });
  return {
    house,
    manifests,
    dispose: async () => {
      await house.dispose();
      await model.close();
    },
  };
});

const midTurn = stage(async () => {
  const model = await ModelEmulator.start('127.0.0.1');
  model.mock.addFixture({
    match: { systemMessage: 'Name the conversation' },
    response: { content: 'Birds', usage: { input_tokens: 1, output_tokens: 1 } },
  });
  const usage = { input_tokens: 900, output_tokens: 200 };
  const call = { name: 'list_dir', arguments: '{"path":"."}' };
  model.mock.addFixture({ match: { userMessage: 'work', hasToolResult: false }, response: { toolCalls: [call], usage } });
  model.mock.addFixture({ match: { userMessage: 'work', hasToolResult: true }, response: { content: 'worked', usage } });
  const provider = { type: 'anthropic', anthropic: { baseURL: model.baseURL, credentialsRef: { name: 'anthropic' } } } as const;
  const manifests = (tokens: number) => ({
    ...webAgent(),
    ...secret('anthropic', { 'api-key': 'sk-test' }),
    ...manifest('AgentGroup', 'assistant', { provider, model: 'claude-test', idleTimeout: '1s', budget: { tokens } }),
  });
  const house = await LocalMode.start({ manifests: manifests(1_000) });
  return {
    house,
    manifests,
    dispose: async () => {
      await house.dispose();
      await model.close();
    },
  };
});

const usageOf = async (house: LocalMode): Promise<readonly usage.AgentUsage[]> =>
  JSON.parse((await house.command('usage', '--agent', 'assistant', '--output', 'json')).stdout) as usage.AgentUsage[];

verifies(
  'gov/budget',
  'tokens are counted as the model reported them; at four fifths the chat is warned once, at the end it is told what is used up and until when; a raised budget lets it go on',
  async () => {
    const { house, manifests } = limited.it;
    const chat = house.chat();
    await chat.ask('first', 'heard first');
    expect(await chat.answer('of its budget for this month')).toMatch(
      /^assistant has used 8\d % of its budget for this month: 4,10\d of 5,000 tokens\. When it is used up, messages wait until \w+, 1 /,
    );
    await chat.ask('second', 'heard second');
    await until('all of it is counted', async () => {
      const rows = await usageOf(house);
      const sum = rows.reduce((total, { tokens }) => total + (tokens?.input ?? 0) + (tokens?.output ?? 0), 0);
      return sum === 5_105 && rows.every(({ unfinished }) => unfinished === 0);
    });
    await chat.send('third');
    expect(await chat.answer('has used up its budget')).toContain('5,105 of 5,000 tokens. It goes on by itself on ');
    const session = await chat.session();
    await until('the message waits', () =>
      house.files.messages(session).some(({ status, content }) => status === 'pending' && content.includes('third')),
    );
    expect(chat.answers().filter((text) => text.includes('of its budget for'))).toHaveLength(1);
    expect(chat.answers().join()).not.toContain('heard third');

    await house.stop('SIGKILL');
    house.declare(manifests({ tokens: 1_000_000, cost: '1', prices: [{ model: 'claude', input: '3', output: '15' }] }));
    await house.start();
    // What was used before it had a price costs nothing; the ledger itself went through the kill.
    expect((await usageOf(house)).reduce((total, { tokens }) => total + (tokens?.input ?? 0), 0)).toBe(4_603);
    // The message that waited goes on by the word of delivery, not at its next try.
    expect(await chat.answer('heard third')).toBe('heard third');
    expect(house.files.messages(session).filter(({ event_id }) => event_id.startsWith('retry/budget/'))).toMatchObject([
      { status: 'done' },
    ]);
    await chat.ask('fourth', 'heard fourth');
    await until('it is counted, and priced', async () => (await usageOf(house)).some(({ cost }) => cost > 0));
  },
  PATIENT_MS,
);

verifies(
  'gov/budget',
  'a turn that is refused between two of its steps is kept, and its Pod is not; the chat is told once; with a raised budget it goes on where it was',
  async () => {
    const { house, manifests } = midTurn.it;
    const chat = house.chat();
    await chat.send('work');
    await chat.answer('has used up its budget');
    const session = await chat.session();
    await until('its Pod is gone meanwhile', () => !house.runners().has(session));
    expect(house.files.history(session).map(({ role }) => role)).toEqual(['user', 'assistant', 'tool']);
    await house.stop('SIGKILL');
    house.declare(manifests(1_000_000));
    await house.start();
    expect(await chat.answer('worked')).toBe('worked');
    expect(chat.answers().filter((text) => text.includes('has used up its budget'))).toHaveLength(1);
    // Not started over: the step that was paid for stands once.
    expect(house.files.history(session).map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'assistant']);
  },
  PATIENT_MS,
);
