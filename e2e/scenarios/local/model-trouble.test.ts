import { readFileSync } from 'node:fs';
import { expect } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { MockPlatformFaults } from '../../../operator/src/gateway/testing/mock-platform-faults.ts';
import { ModelEmulator } from '../../emulators/model.ts';
import { LocalMode } from '../../harness/local-mode.ts';
import { manifest, secret, webAgent } from '../../harness/objects.ts';
import { localStage, PATIENT_MS, stage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const KEY = 'sk-not-for-the-pod';
const demo = localStage();
const claude = stage(async () => {
  const model = await ModelEmulator.start('127.0.0.1');
  const wire = await MockPlatformFaults.start(model.baseURL); // the emulator hides the keys it saw
  const house = await LocalMode.start({
    manifests: {
      ...webAgent(),
      ...secret('anthropic', { 'api-key': KEY }),
      ...manifest('AgentGroup', 'assistant', {
        provider: { type: 'anthropic', anthropic: { baseURL: wire.url, credentialsRef: { name: 'anthropic' } } },
        instructions: 'You are a test.',
      }),
    },
  });
  return {
    model,
    wire,
    house,
    dispose: async () => {
      await house.dispose();
      await wire.close();
      await model.close();
    },
  };
});

verifies(
  'turn/transient-errors',
  'limits, overload and a broken line are tried again with backoff while people see that work goes on; they see the answer and no error',
  async () => {
    const chat = demo.it.chat();
    const answer = await chat.ask('fail 429 retry-after 1s\nfail 529\nfail network\nsay through', 'through');
    expect(answer).toBe('through');
    expect(chat.answers()).toEqual(['through']);
    expect(chat.activities).toContain('Thinking');
    const [ack] = demo.it.files.acks(await chat.session());
    expect(ack).toMatchObject({ state: 'done', tries: 1 });
  },
  PATIENT_MS,
);

verifies(
  'turn/provider-anthropic',
  'the Messages API through the proxy: streamed tool loop, cache marks, the key from the Secret, and no key in the runner',
  async () => {
    const { model, wire, house } = claude.it;
    model.mock.addFixture({
      match: { userMessage: 'weather', hasToolResult: false },
      response: { toolCalls: [{ name: 'write_file', arguments: '{"path":"w.txt","content":"sunny"}' }] },
    });
    model.mock.addFixture({ match: { userMessage: 'weather', hasToolResult: true }, response: { content: 'It is sunny.' } });
    model.mock.addFixture({ match: { userMessage: 'again' }, response: { content: 'Still sunny.' } });
    const chat = house.chat();
    await chat.ask('How is the weather?', 'It is sunny.');
    const session = await chat.session();
    expect(readFileSync(`${house.files.paths(session).workspace}/w.txt`, 'utf8')).toBe('sunny');
    expect(new Set(wire.calls.map(({ headers }) => headers['x-api-key']))).toEqual(new Set([KEY]));
    const [asked] = wire
      .callsOf('messages')
      .map(({ body }) => JSON.parse(body.toString()) as { stream: boolean; system: { cache_control?: object }[] });
    expect(asked?.stream).toBe(true);
    expect(JSON.stringify(asked)).toContain('cache_control');
    const runner = await house.runner(session);
    expect(readFileSync(`/proc/${runner}/environ`, 'utf8')).not.toContain(KEY);
    expect(readFileSync(`/proc/${runner}/cmdline`, 'utf8')).not.toContain(KEY);
    // An overload and a broken stream on the way.
    model.mock.nextRequestError(529, { message: 'overloaded', type: 'overloaded_error' });
    await chat.ask('and again?', 'Still sunny.');
    expect(chat.answers()).toEqual(['It is sunny.', 'Still sunny.']);
  },
  PATIENT_MS,
);

verifies(
  'turn/poison-message',
  'a message that kills its runner each time is set aside after its fifth try: people are told, it is listed, and later messages go on',
  async () => {
    const house = demo.it;
    const { files } = house;
    const chat = house.chat();
    await chat.send('crash always');
    const session = await chat.session();
    await until('it has killed two runners', () => (files.acks(session)[0]?.tries ?? 0) >= 2);
    // The waits between the other three are minutes: they are told in the runner's own tests.
    await house.stop();
    const db = new Sqlite(`${files.paths(session).out}/outbound.db`, { timeout: 5_000 });
    db.exec("UPDATE acks SET tries = 5, state = 'processing'");
    db.close();
    await house.start();
    await chat.answer('could not work on your message');
    await chat.ask('say the next one', 'the next one');
    const { stdout } = await house.command('dead-letters', 'list', '--output', 'json');
    expect(JSON.parse(stdout)).toMatchObject([{ direction: 'in', attempts: 5 }]);
    expect(files.messages(session).find(({ kind }) => kind === 'system')?.content).toContain('set aside');
  },
  PATIENT_MS,
);
