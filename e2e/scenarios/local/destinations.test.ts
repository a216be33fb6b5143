import { expect } from '@jest/globals';
import { MockPlatformFaults } from '../../../operator/src/gateway/testing/mock-platform-faults.ts';
import { ModelEmulator } from '../../emulators/model.ts';
import { LocalMode } from '../../harness/local-mode.ts';
import { manifest, secret, webAgent } from '../../harness/objects.ts';
import { PATIENT_MS, stage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const OPS_CHAT = 'ops-room-4711';

/** What the model is sent is read on its wire. */
const claude = stage(async () => {
  const model = await ModelEmulator.start('127.0.0.1');
  const wire = await MockPlatformFaults.start(model.baseURL);
  const house = await LocalMode.start({
    manifests: {
      ...webAgent(),
      ...secret('anthropic', { 'api-key': 'sk-test' }),
      ...manifest('AgentGroup', 'assistant', {
        provider: { type: 'anthropic', anthropic: { baseURL: wire.url, credentialsRef: { name: 'anthropic' } } },
      }),
      ...manifest('Destination', 'ops', {
        agentGroupRef: 'assistant',
        localName: 'ops',
        target: { type: 'channel', channel: { channelRef: 'web', chatId: OPS_CHAT } },
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

const bodies = (word: string): readonly string[] =>
  claude.it.wire
    .callsOf('messages')
    .map(({ body }) => body.toString())
    .filter((body) => body.includes(word) && body.includes('"tools"'));

verifies(
  'turn/message-blocks',
  'blocks go to their destinations, what is internal nowhere, plain text to the chat that asked; the model is told once of a name that does not exist',
  async () => {
    const { model, house } = claude.it;
    const first =
      'Told.<internal>between us</internal>\n<message to="ops">The pump is down.</message>\n<message to="nowhere">lost</message>';
    model.mock.addFixture({
      match: { userMessage: 'No such destination' },
      response: { content: 'Only ops was told.<message to="nowhere">lost</message>' },
    });
    model.mock.addFixture({ match: { userMessage: 'pumphouse' }, response: { content: first } });
    const [chat, ops] = [house.chat(), house.chat('web', OPS_CHAT)];
    const answer = await chat.ask('pumphouse', 'Only ops was told.');
    expect(answer).toContain('I could not send a message to "nowhere"');
    await until('ops is told', () => ops.answers().length > 0);
    expect(ops.answers()).toEqual(['The pump is down.']);
    expect(chat.answers()).toEqual([answer]);
    expect([...chat.answers(), ...ops.answers()].join()).not.toMatch(/between us|lost/);
    expect(bodies('pumphouse').filter((body) => body.includes('No such destination: nowhere'))).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'turn/destinations-in-prompt',
  'destinations are listed by name, messages say where they come from by name, and no id of a platform reaches the model',
  async () => {
    const { model, house } = claude.it;
    model.mock.addFixture({ match: { userMessage: 'dovetail' }, response: { content: 'Here.' } });
    model.mock.addFixture({ match: { userMessage: 'from the room' }, response: { content: 'There.' } });
    const [chat, ops] = [house.chat(), house.chat('web', OPS_CHAT)];
    const { eventId } = await chat.send('dovetail');
    await chat.answer('Here.');
    await ops.ask('from the room', 'There.');
    const here = bodies('dovetail').join('\n');
    expect(here).toMatch(/# Destinations.*- ops/s);
    expect(here).toMatch(/<message id=\\"2\\" from=\\"here\\"/);
    expect(bodies('from the room').join('\n')).toMatch(/<message id=\\"2\\" from=\\"ops\\"/);
    const everything = claude.it.wire.calls.map(({ body }) => body.toString()).join('\n');
    for (const id of [OPS_CHAT, chat.chat, eventId]) expect(everything).not.toContain(id);
  },
  PATIENT_MS,
);
