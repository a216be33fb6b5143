/** Skills from ConfigMaps, on their whole way: mounted by the kubelet, listed to the model, read by the tool. */
import { expect } from '@jest/globals';
import { ModelEmulator } from '../../emulators/model.ts';
import { apply, conditionOf, fact, get, type Json, kubectl, untilCondition } from '../../harness/cluster.ts';
import { clusterVerifies } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

const skill = (name: string, body: string): Json => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data: { 'SKILL.md': `---\nname: ${name}\ndescription: All about ${name}.\n---\n${body}`, 'more.txt': 'and more' },
});

clusterVerifies(
  'turn/skills',
  'ConfigMaps are read-only folders of the Pod, listed sorted and read by use_skill; a changed one is seen; one that is missing is a condition, harms nobody, and is found when it comes',
  async (scenario) => {
    const [agent, plain] = [scenario.name('agent'), scenario.name('plain')];
    const [art, zoo] = [scenario.name('art'), scenario.name('zoo')];
    const model = await ModelEmulator.start(fact('HOST_IP'));
    scenario.later(() => model.close());
    for (const [word, name] of [
      ['one', zoo],
      ['two', art],
      ['three', zoo],
    ] as const) {
      const call = { name: 'use_skill', arguments: JSON.stringify({ name }) };
      model.mock.addFixture({ match: { userMessage: `read ${word}`, hasToolResult: false }, response: { toolCalls: [call] } });
      model.mock.addFixture({ match: { userMessage: `read ${word}`, hasToolResult: true }, response: { content: `done ${word}` } });
    }
    model.mock.addFixture({ match: { userMessage: 'anything' }, response: { content: 'nothing' } });
    const provider = { type: 'anthropic', anthropic: { baseURL: model.baseURL, credentialsRef: { name: agent } } };
    await scenario.make(skill(zoo, 'First the lions.'), {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: agent },
      stringData: { 'api-key': 'x' },
    });
    const skills = [zoo, art].map((configMapRef) => ({ configMapRef }));
    await scenario.agent({ provider, model: 'claude-test', skills }, agent);
    const group = await untilCondition('agentgroup', agent, 'RefsResolved', 'False', 'ReferenceMissing');
    expect(conditionOf(group, 'RefsResolved')?.message).toContain(`ConfigMap ${art} does not exist`);

    /** The last request of a turn that the model got about this, titles apart. */
    const asked = (word: string) => {
      const requests = model.mock
        .getRequests()
        .map(({ body }) => body as { readonly messages: readonly object[]; readonly tools?: object[] });
      const found = requests.findLast(({ messages, tools }) => tools !== undefined && JSON.stringify(messages).includes(word));
      if (found === undefined) throw new Error(`the model was not asked about ${word}`);
      const { messages, tools } = found;
      return { system: JSON.stringify(messages[0]), messages: JSON.stringify(messages), tools: JSON.stringify(tools) };
    };
    const chat = (await scenario.webChat(agent))();
    await chat.ask('read one', 'done one');
    expect(asked('read one').messages).toContain('First the lions.');
    expect(asked('read one').system).not.toContain(`All about ${art}`);
    const session = await chat.session();
    const inside = async (command: string): Promise<string> => kubectl('exec', session, '--', 'sh', '-c', `(${command}) 2>&1; true`);
    expect(await inside(`echo x > /skills/${zoo}/SKILL.md`)).toContain('Read-only file system');
    const pod = (await get('pod', session))?.metadata.uid;

    await apply(skill(zoo, 'First the tigers.'));
    await scenario.make(skill(art, 'Pencil.'));
    await untilCondition('agentgroup', agent, 'RefsResolved', 'True', 'Found');
    await kubectl('annotate', 'pod', session, 'look=now'); // the kubelet looks each minute, and when a Pod changes
    await until('the Pod has both', async () =>
      /tigers.*Pencil/s.test(await inside(`cat /skills/${zoo}/SKILL.md /skills/${art}/SKILL.md`)),
    );
    await chat.ask('read two', 'done two');
    expect(asked('read two').messages).toContain('Pencil.');
    expect(asked('read two').system).toContain(`- ${art}: All about ${art}.\\n- ${zoo}: All about ${zoo}.`);
    await chat.ask('read three', 'done three');
    expect(asked('read three').messages).toContain('First the tigers.');
    expect((await get('pod', session))?.metadata.uid).toBe(pod);

    await scenario.agent({ provider, model: 'claude-test' }, plain);
    await (await scenario.webChat(plain))().ask('anything', 'nothing');
    expect(asked('anything').system).not.toContain('# Skills');
    expect(asked('anything').tools).not.toContain('use_skill');
    expect(asked('read two').tools).toContain('use_skill');
  },
  180_000,
);
