/** What a session's Pod serves to those outside, at its own address: commands, files in their jail, MCP servers, and nothing to a stranger. */
import { status } from '@grpc/grpc-js';
import { expect } from '@jest/globals';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { kubectl } from '../../harness/cluster.ts';
import { EVERYTHING_WITH_SESSIONS, person } from '../../harness/cluster-person.ts';
import { clusterVerifies, type Scenario, sessionOf, untilAwake } from '../../harness/cluster-scenario.ts';
import { NODE, PROGRAM } from '../../harness/local-mode.ts';

/** A session that has just answered. */
async function awake(scenario: Scenario, word: string): Promise<string> {
  const agent = scenario.name(word);
  await scenario.agent({}, agent);
  const { slack } = await scenario.slackChat(agent);
  await slack.answer(await slack.say('hello'), 'You said: hello');
  const { name } = (await sessionOf(agent)).metadata;
  await untilAwake(name);
  return name;
}

clusterVerifies(
  'pod/exec',
  'commands get their input and tell how they ended; a terminal is one; a job is found again',
  async (scenario) => {
    const name = await awake(scenario, 'agent');
    const { dovecote } = await person(scenario, EVERYTHING_WITH_SESSIONS);
    const piped = await dovecote(['exec', name, '--env', 'A=b', '--', 'sh', '-c', 'read x; echo "got $x $A"; exit 7'], 'it\n');
    expect([piped.code, piped.stdout]).toEqual([7, 'got it b\n']);
    const terminal = await dovecote(['exec', name, '--tty', '--', 'sh', '-c', 'test -t 0 && stty size; kill -TERM $$']);
    expect([terminal.code, terminal.stdout]).toEqual([143, expect.stringContaining('24 80')]);
    const job = await dovecote(['exec', name, '--detach', '--', 'sh', '-c', 'echo one; sleep 1; echo two; exit 3']);
    const id = /job (\S+)/.exec(job.stderr)?.[1] ?? '';
    const again = await dovecote(['exec', name, '--job', id]);
    expect([again.code, again.stdout]).toEqual([3, 'one\ntwo\n']);
  },
);

clusterVerifies('pod/path-jail', 'files keep their modes, and neither links nor dots lead out of the jail', async (scenario) => {
  const name = await awake(scenario, 'agent');
  const { dovecote } = await person(scenario, EVERYTHING_WITH_SESSIONS);
  const sh = async (command: string): Promise<string> => (await dovecote(['exec', name, '--', 'sh', '-c', command])).stdout;
  await sh('cd /workspace; echo old > script; chmod 750 script; ln -s /etc link; ln -s /etc/passwd secret');
  expect(await dovecote(['files', 'put', name, 'script'], 'new')).toMatchObject({ code: 0 });
  expect(await sh('cd /workspace; cat script; stat -c %a script')).toBe('new750\n');
  for (const path of ['secret', 'link/passwd', '../cell/in/inbound.db', '/etc/passwd', '/proc/self/environ']) {
    const { code, stdout } = await dovecote(['files', 'get', name, path]);
    expect([path, code, stdout]).toEqual([path, 1, '']);
    expect((await dovecote(['files', 'put', name, path], 'x')).code).toBe(1);
  }
});

clusterVerifies('pod/container-service', 'people list, read and write what the agent sees', async (scenario) => {
  const name = await awake(scenario, 'agent');
  const { dovecote } = await person(scenario, EVERYTHING_WITH_SESSIONS);
  const large = 'x'.repeat(3 * 1024 * 1024);
  expect(await dovecote(['files', 'put', name, 'deep/er/large.txt'], large)).toMatchObject({ code: 0 });
  expect((await dovecote(['files', 'get', name, 'deep/er/large.txt'])).stdout).toBe(large);
  expect((await dovecote(['files', 'ls', name, 'deep/er'])).stdout).toContain('large.txt');
  expect(await kubectl('exec', name, '--', 'stat', '-c', '%s', '/workspace/deep/er/large.txt')).toBe(`${large.length}\n`);
});

/** A server of ten lines, as the image holds none. */
const ECHO = `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  const result = method === 'initialize'
    ? { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'echo', version: '1' } }
    : method === 'tools/list' ? { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] }
    : method === 'tools/call' ? { content: [{ type: 'text', text: process.cwd() + ' ' + params.arguments.word }] } : {};
  console.log(JSON.stringify({ jsonrpc: '2.0', id, result }));
});`;

clusterVerifies('pod/mcp-stdio-session', 'an MCP client outside speaks with a server that runs in the Pod', async (scenario) => {
  const name = await awake(scenario, 'agent');
  const { env } = await person(scenario, EVERYTHING_WITH_SESSIONS);
  const client = new Client({ name: 'outside', version: '1' });
  const args = [PROGRAM, 'mcp', name, '-', '--', 'node', '-e', ECHO];
  await client.connect(new StdioClientTransport({ command: NODE, args, env: { ...env }, stderr: 'pipe' }));
  expect(client.getServerVersion()?.name).toBe('echo');
  expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(['echo']);
  const answer = await client.callTool({ name: 'echo', arguments: { word: 'here' } });
  expect(answer.content).toEqual([{ type: 'text', text: '/workspace here' }]);
  await client.close();
});

/** A call without the secret, from a Pod: which certificate answers, and with which gRPC status. */
const GUESS = `const address = process.argv[1];
const session = require('node:http2').connect('https://' + address, { rejectUnauthorized: false });
const stream = session.request({ ':method': 'POST', ':path': '/dovecote.v1.ContainerService/Stat',
  'content-type': 'application/grpc', te: 'trailers', 'x-dovecote-caller': 'a guess' });
const told = (headers) => headers['grpc-status'] !== undefined && console.log(JSON.stringify({
  status: Number(headers['grpc-status']), fingerprint: session.socket.getPeerCertificate().fingerprint256 })) & session.close();
stream.on('response', told).on('trailers', told).on('error', () => {});
stream.end(Buffer.from([0, 0, 0, 0, 0]));
setTimeout(() => process.exit(1), 20_000).unref();`;

clusterVerifies(
  'pod/tls-per-session',
  'each Pod has a key of its own, and answers nobody who does not know its secret',
  async (scenario) => {
    const pods = [await awake(scenario, 'one'), await awake(scenario, 'two')];
    const [from = ''] = pods;
    const fingerprints = new Set<string>();
    for (const pod of pods) {
      const ip = await kubectl('get', 'pod', pod, '-o', 'jsonpath={.status.podIP}');
      const said = JSON.parse(await kubectl('exec', from, '--', 'node', '-e', GUESS, `${ip}:9090`)) as {
        status: number;
        fingerprint: string;
      };
      expect(said.status).toBe(status.UNAUTHENTICATED);
      fingerprints.add(said.fingerprint);
    }
    expect(fingerprints.size).toBe(2);
  },
);
