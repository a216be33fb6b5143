import { expect } from '@jest/globals';
import { ModelEmulator } from '../../emulators/model.ts';
import { LocalMode } from '../../harness/local-mode.ts';
import { manifest, secret, webAgent } from '../../harness/objects.ts';
import { PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const WRONG: readonly [what: string, kind: string, spec: object, sentence: RegExp][] = [
  ['a provider without its block', 'AgentGroup', { provider: { type: 'anthropic' } }, /must be set when type is 'anthropic'/],
  [
    'a block of another type',
    'Channel',
    { type: 'local', slack: { credentialsRef: { name: 'x' } } },
    /may only be set when type is 'slack'/,
  ],
  [
    'chat and class',
    'MessagingGroup',
    { channelRef: 'web', chatId: 'a', chatClass: 'Any' },
    /exactly one of chatId and chatClass must be set/,
  ],
  ['a duration out of range', 'AgentGroup', { provider: { type: 'demo' }, idleTimeout: '5ms' }, /spec\.idleTimeout/],
];

verifies(
  'dev/two-commands',
  'a manifest that is wrong ends the start with its file, the field and the sentence that an API server would print',
  async () => {
    for (const [, kind, spec, sentence] of WRONG) {
      const house = new LocalMode({ manifests: { ...webAgent(), ...manifest(kind as 'Channel', 'wrong', spec as never) } });
      try {
        const failure = await house.start().then(
          () => '',
          (e: Error) => e.message,
        );
        expect(failure).toMatch(sentence);
        expect(failure).toContain(`${kind.toLowerCase()}-wrong.json`);
        expect(failure).not.toMatch(/\n\s+at /);
      } finally {
        await house.dispose();
      }
    }
  },
  PATIENT_MS,
);

verifies(
  'sec/refuse-without-credentials',
  'an agent whose key is missing gets no process; the message is kept, and answered when the key is there',
  async () => {
    const model = await ModelEmulator.start('127.0.0.1');
    model.mock.addFixture({ match: { userMessage: 'hello' }, response: { content: 'Hello from the model.' } });
    const anthropic = { baseURL: model.baseURL, credentialsRef: { name: 'anthropic' } };
    const wanted = { ...webAgent(), ...manifest('AgentGroup', 'assistant', { provider: { type: 'anthropic', anthropic } }) };
    const house = await LocalMode.start({ manifests: wanted });
    try {
      const chat = house.chat();
      await chat.send('hello');
      const session = await chat.session();
      await until('it is stored', () => house.files.messages(session).length === 1);
      await until('somebody is told why', () => chat.answers().find((text) => /credential|key|Secret/i.test(text)));
      expect(house.runners().size).toBe(0);
      await house.stop();
      house.declare({ ...wanted, ...secret('anthropic', { 'api-key': 'sk-test' }) });
      await house.start();
      await chat.answer('Hello from the model.');
    } finally {
      await house.dispose();
      await model.close();
    }
  },
  PATIENT_MS,
);

verifies(
  'dev/two-commands',
  'started with a key once and without it later, the demo answers by its built-in provider again, in the same conversation',
  async () => {
    const anthropic = { credentialsRef: { name: 'anthropic' } };
    const house = new LocalMode({
      manifests: { ...webAgent(), ...manifest('AgentGroup', 'assistant', { provider: { type: 'anthropic', anthropic } }) },
      flags: ['--fallback-provider', 'demo'],
    });
    try {
      await house.start();
      const chat = house.chat();
      await chat.ask('remember umber', 'I will remember: umber');
      const key = secret('anthropic', { 'api-key': 'sk-test' });
      const without = { ...webAgent(), ...manifest('AgentGroup', 'assistant', { provider: { type: 'anthropic', anthropic } }) };
      await house.stop();
      house.declare({ ...without, ...key });
      await house.start();
      await house.stop();
      house.declare(without);
      await house.start();
      expect(await chat.ask('recall', 'I remember')).toBe('I remember: umber');
    } finally {
      await house.dispose();
    }
  },
  PATIENT_MS,
);
