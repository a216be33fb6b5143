import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { until } from '../../testing/runner-process.ts';
import { Running } from '../../testing/running.ts';
import { type EmulatedModel, emulatedModel } from './emulated-model.ts';
import { breakStream, refuseWith } from './proxy-stand-in.ts';

describe('a runner with the anthropic provider', () => {
  let setup: EmulatedModel;
  const running = new Running();
  beforeEach(async () => {
    setup = await emulatedModel();
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

  test('shows the model the picture that came with a message', async () => {
    const cell = running.cell({ agent: { provider: 'anthropic' } });
    mkdirSync(join(cell.in, 'attachments/2'), { recursive: true });
    const bytes = Buffer.from('\x89PNG\r\n\x1a\nof a cat', 'latin1');
    writeFileSync(join(cell.in, 'attachments/2/cat.png'), bytes);
    const file = { name: 'cat.png', path: 'attachments/2/cat.png', mimeType: 'image/png', sizeBytes: bytes.length, sha256: 'x' };
    cell.say('say hello', { content: { attachments: [file] } });
    running.start(cell, flags());
    await until('it is answered', () => cell.texts().length === 1);
    const content = [
      { type: 'text', text: expect.stringContaining('[attachment: cat.png') },
      { type: 'image', source: { media_type: 'image/png', data: bytes.toString('base64') } },
    ];
    expect(setup.proxy.seen[0]?.body['messages']).toMatchObject([{ role: 'user', content }]);
  });

  test('gets through a limit, an overload and a broken stream; people see the answer alone', async () => {
    const cell = running.cell({ agent: { provider: 'anthropic' } });
    const steps = (): number => setup.proxy.seen.filter(({ body }) => 'tools' in body).length; // without tools a title is asked for
    setup.proxy.fault = (response, nth) => {
      if (!('tools' in (setup.proxy.seen.at(-1)?.body ?? {}))) return false;
      if (steps() === 3) return breakStream(response);
      if (steps() > 2) return false;
      return refuseWith(steps() === 1 ? 429 : 529, 'x', steps() === 1 ? { 'retry-after': '0.2' } : {})(response, nth);
    };
    const seq = cell.say('say hello');
    running.start(cell, flags());
    await until('it is answered', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual(['Hello from the mock.']);
    expect(cell.acks()).toMatchObject([{ in_seq: seq, state: 'done', tries: 1 }]);
    expect(steps()).toBe(4);
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

  test("tells people the proxy's sentence when the budget is used up; their message waits", async () => {
    const cell = running.cell({ agent: { provider: 'anthropic' } });
    const sentence = 'The budget of this agent is used up until Monday.';
    setup.proxy.fault = refuseWith(402, 'budget_exhausted', { 'x-dovecote-proxy': 'refused' }, sentence);
    cell.say('say hello');
    running.start(cell, flags());
    await until('people are told', () => cell.texts().length === 1);
    expect(cell.texts()).toEqual([sentence]);
    await until('it is due again later', () => cell.acks()[0]?.state === 'interrupted');
  });
});
