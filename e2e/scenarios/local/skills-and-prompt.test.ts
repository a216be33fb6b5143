import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { MockPlatformFaults } from '../../../operator/src/gateway/testing/mock-platform-faults.ts';
import { ModelEmulator } from '../../emulators/model.ts';
import { LocalMode } from '../../harness/local-mode.ts';
import { configMap, manifest, secret, webAgent } from '../../harness/objects.ts';
import { PATIENT_MS, stage } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const SKILLS = {
  ...configMap('zoo-keeping', { 'SKILL.md': '---\nname: zoo\ndescription: Feeds animals.\n---\nFirst the lions.', 'food.txt': 'meat' }),
  ...configMap('broken', { 'SKILL.md': 'no front matter' }),
};

/** What the model is sent is read on its wire. */
const claude = stage(async () => {
  const model = await ModelEmulator.start('127.0.0.1');
  const wire = await MockPlatformFaults.start(model.baseURL);
  const house = await LocalMode.start({
    manifests: {
      ...webAgent(),
      ...SKILLS,
      ...secret('anthropic', { 'api-key': 'sk-test' }),
      ...manifest('AgentGroup', 'assistant', {
        provider: { type: 'anthropic', anthropic: { baseURL: wire.url, credentialsRef: { name: 'anthropic' } } },
        instructions: 'You are a test.',
        skills: [{ configMapRef: 'zoo-keeping' }, { configMapRef: 'broken' }, { configMapRef: 'not-there' }],
      }),
      ...manifest('AgentGroup', 'plain', {
        provider: { type: 'anthropic', anthropic: { baseURL: wire.url, credentialsRef: { name: 'anthropic' } } },
      }),
      ...manifest('Channel', 'other', { type: 'local' }),
      ...manifest('MessagingGroup', 'other', {
        channelRef: 'other',
        chatClass: 'Any',
        unknownSenders: 'Public',
        agents: [{ agentGroupRef: 'plain', engage: { mode: 'Always' } }],
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

interface Asked {
  readonly system: readonly { readonly text: string }[];
  readonly tools?: readonly { readonly name: string }[];
  readonly messages: readonly object[];
}
/** The calls that concern this word, titles apart. */
const asked = (word: string): readonly Asked[] =>
  claude.it.wire
    .callsOf('messages')
    .map(({ body }) => JSON.parse(body.toString()) as Asked)
    .filter(({ messages, tools }) => (tools ?? []).length > 0 && JSON.stringify(messages).includes(word));

verifies(
  'turn/skills',
  'a ConfigMap and a folder of the agent are skills: listed by name, read whole by use_skill; the malformed and the missing harm nobody',
  async () => {
    const { model, house } = claude.it;
    model.mock.addFixture({
      match: { userMessage: 'lionhouse', hasToolResult: false },
      response: { toolCalls: [{ name: 'use_skill', arguments: '{"name":"zoo"}' }] },
    });
    model.mock.addFixture({ match: { userMessage: 'lionhouse', hasToolResult: true }, response: { content: 'Fed.' } });
    model.mock.addFixture({ match: { userMessage: 'artwork' }, response: { content: 'Drawn.' } });
    const chat = house.chat();
    await chat.ask('lionhouse', 'Fed.');
    const [first, second] = asked('lionhouse');
    const system = first?.system.map(({ text }) => text).join('\n') ?? '';
    expect(
      system
        .match(/# Skills[^#]*/)?.[0]
        ?.trim()
        .split('\n')
        .slice(-1),
    ).toEqual(['- zoo: Feeds animals.']);
    expect(first?.tools?.map(({ name }) => name)).toContain('use_skill');
    expect(JSON.stringify(second?.messages)).toContain('First the lions.');
    // One that the agent keeps itself is there with its next turn.

    const folder = join(house.files.root, 'agents', uidOf(house, chat.scope), 'home', 'skills', 'art');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'SKILL.md'), '---\nname: art\ndescription: Draws.\n---\nPencil.');
    await chat.ask('artwork', 'Drawn.');
    const later =
      asked('artwork')
        .at(-1)
        ?.system.map(({ text }) => text)
        .join('\n') ?? '';
    expect(later).toContain('- art: Draws.\n- zoo: Feeds animals.');
  },
  PATIENT_MS,
);

verifies(
  'tool/use-skill',
  'use_skill gives other files of the skill too, and for a name that is not there the names that are, and why others are not',
  async () => {
    const { model, house } = claude.it;
    const calls = ['{"name":"zoo","file":"food.txt"}', '{"name":"nope"}'].map((input) => ({ name: 'use_skill', arguments: input }));
    model.mock.addFixture({ match: { userMessage: 'feeding', hasToolResult: false }, response: { toolCalls: calls } });
    model.mock.addFixture({ match: { userMessage: 'feeding', hasToolResult: true }, response: { content: 'Both done.' } });
    await house.chat().ask('feeding', 'Both done.');
    const results = JSON.stringify(asked('feeding').at(-1)?.messages);
    expect(results).toContain('"meat"');
    expect(results).toMatch(/There is no skill named nope\. There are: .*zoo/);
    expect(results).toContain('it does not begin with front matter');
  },
  PATIENT_MS,
);

verifies(
  'turn/skills',
  'an agent without skills has neither the section nor the tool',
  async () => {
    const { model, house } = claude.it;
    model.mock.addFixture({ match: { userMessage: 'skillless' }, response: { content: 'Plainly.' } });
    await house.chat('other').ask('skillless', 'Plainly.');
    const [only] = asked('skillless');
    expect(only?.system.map(({ text }) => text).join('\n')).not.toContain('# Skills');
    expect(only?.tools?.map(({ name }) => name)).not.toContain('use_skill');
  },
  PATIENT_MS,
);

verifies(
  'turn/prompts-by-type',
  'the prompt holds the fragments of a chat, the instructions and the files of the agent; one that cannot be read is told apart from one that is missing',
  async () => {
    const { model, house } = claude.it;
    model.mock.addFixture({ match: { userMessage: 'whoareyou' }, response: { content: 'Robin.' } });
    model.mock.addFixture({ match: { userMessage: 'hello again' }, response: { content: 'Again.' } });
    const chat = house.chat();
    await chat.ask('hello again', 'Again.');
    const home = join(house.files.root, 'agents', uidOf(house, chat.scope), 'home');
    writeFileSync(join(home, 'IDENTITY.md'), 'I am Robin.');
    mkdirSync(join(home, 'SOUL.md'));
    await chat.ask('whoareyou', 'Robin.');
    const system =
      asked('whoareyou')
        .at(-1)
        ?.system.map(({ text }) => text)
        .join('\n') ?? '';
    expect(system).toContain('You are in one chat.');
    expect(system).toContain('# Instructions\n\nYou are a test.');
    expect(system).toContain('# IDENTITY.md\n\nI am Robin.');
    expect(system).toMatch(/SOUL\.md is there, but it could not be read/);
    expect(system).not.toContain('MEMORY.md');
  },
  PATIENT_MS,
);

function uidOf(house: LocalMode, scope: string): string {
  const session = house.files.find(scope) ?? '';
  return house.files.inbound<{ agent_group_uid: string }>(session, 'SELECT agent_group_uid FROM meta')[0]?.agent_group_uid ?? '';
}
