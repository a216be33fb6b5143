/** MCP servers of an agent on a cluster: the protocol's reference server as a program in the Pod, and as one elsewhere behind a credential. */
import { fileURLToPath } from 'node:url';
import { expect } from '@jest/globals';
import { build } from 'esbuild';
import { EVERYTHING, EverythingOverHttp } from '../../../runner/src/mcp/testing/everything.ts';
import { startScriptedProxy } from '../../../runner/src/mcp/testing/scripted-proxy.ts';
import { fact, get, kubectl } from '../../harness/cluster.ts';
import { clusterVerifies } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

/** The reference server as one file, small enough for a ConfigMap: no image of ours has it, and a Pod has no registry to fetch it from. */
async function everything(): Promise<string> {
  const entry = fileURLToPath(new URL('transports/stdio.js', `file://${EVERYTHING}`));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, minify: true, platform: 'node', format: 'esm', write: false });
  return outputFiles[0]?.text ?? '';
}

clusterVerifies(
  'tool/mcp-stdio-http',
  'the reference server is used in the Pod over stdio and, through the proxy with a key that the Pod never sees, elsewhere over HTTP; killed, it is started again; added and changed, it is there without a new Pod',
  async (scenario) => {
    const [agent, program] = [scenario.name('agent'), scenario.name('everything')];
    const key = `key-of-the-server-${scenario.id}`;
    const reference = await EverythingOverHttp.start();
    scenario.later(() => reference.kill());
    const door = await startScriptedProxy(key, fact('HOST_IP')); // opens for the key alone
    scenario.later(() => door.close());
    door.targets.set('reference', reference.url);
    await scenario.make(
      {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: program },
        data: { 'SKILL.md': `---\nname: ${program}\ndescription: Carries an MCP server.\n---\nUse it.`, 'server.mjs': await everything() },
      },
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: agent }, stringData: { token: key } },
    );
    const headers = [{ name: 'Authorization', prefix: 'Bearer ', secretRef: { name: agent } }];
    const stdio = { name: 'everything', type: 'stdio', stdio: { command: ['node', `/skills/${program}/server.mjs`] } };
    const remote = { name: 'remote', type: 'http', http: { url: `${door.url}/mcp/reference`, headers }, tools: ['echo'] };
    const absent = { name: 'absent', type: 'stdio', stdio: { command: ['no-such-program'] } };
    const declare = (...mcpServers: object[]) => scenario.agent({ skills: [{ configMapRef: program }], mcpServers }, agent);
    await declare(stdio, absent);
    const chat = (await scenario.webChat(agent))();
    await chat.ask('tool mcp__everything__echo {"message":"one"}\nsay stdio: {result}', 'stdio: Echo: one');
    const session = await chat.session();
    const pod = (await get('pod', session))?.metadata.uid;
    const inside = async (command: string): Promise<string> => (await kubectl('exec', session, '--', 'sh', '-c', command)).trim();
    const server = (): Promise<string> => inside("grep -la '/[s]erver.mjs' /proc/[0-9]*/cmdline | cut -d/ -f3");
    const first = await server();
    expect(first).toMatch(/^\d+$/);
    await inside(`kill -9 ${first}`);
    await chat.ask('tool mcp__everything__echo {"message":"two"}\nsay stdio: {result}', 'stdio: Echo: two');
    expect(await server()).not.toBe(first);

    await declare(stdio, absent, remote);
    // The session hears of it in its own time; until then there is no such tool.
    await until('the added server is used', async () => {
      await chat.ask(
        `tool mcp__remote__echo {"message":"three"}\nsay http ${chat.answers().length}: {result}`,
        `http ${chat.answers().length}: `,
      );
      return chat.answers().some((text) => text.includes('Echo: three'));
    });
    await reference.kill();
    await reference.start();
    await chat.ask('tool mcp__remote__echo {"message":"four"}\nsay http: {result}', 'http: Echo: four');
    // Only what the settings allow of it.
    await chat.ask('tool mcp__remote__get_sum {"a":1,"b":2}\nsay sum: {result}', /sum: .*no tool named/);
    const look = `grep -rl -- '${key}' /cell /workspace /agent /skills /tmp /var/run/dovecote /proc/[0-9]*/environ /etc 2>/dev/null; echo looked`;
    expect(await inside(look)).toBe('looked');
    expect((await get('pod', session))?.metadata.uid).toBe(pod);
  },
  180_000,
);
