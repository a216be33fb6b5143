/** The proxy on a cluster: real tokens, real Secrets, a real Pod on the other side. */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from '@jest/globals';
import { ModelEmulator } from '../../emulators/model.ts';
import { conditionOf, execute, fact, get, kubectl, list, NAMESPACE, untilCondition } from '../../harness/cluster.ts';
import { agentGroup, clusterVerifies, type Scenario, sessionOf, untilAwake } from '../../harness/cluster-scenario.ts';

import { type End, letsThrough, type Policy } from '../../harness/network-policy.ts';
import { signedAnew, type TokenClaims, tokenKey } from '../../harness/signed-token.ts';

/** A server beside the cluster that notes what reaches it. What it says of /endless has no end. */
async function outside(scenario: Scenario): Promise<{ readonly authority: string; readonly seen: IncomingHttpHeaders[] }> {
  const seen: IncomingHttpHeaders[] = [];
  const server = createServer((incoming, response) => {
    seen.push(incoming.headers);
    incoming.resume();
    response.writeHead(200, { 'content-type': 'application/json' });
    if (incoming.url !== '/endless') response.end('{"from":"outside"}');
    else {
      const more = setInterval(() => response.write('more'), 100);
      response.once('close', () => clearInterval(more));
    }
  });
  const host = fact('HOST_IP');
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  scenario.later(async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return { authority: `${host}:${(server.address() as AddressInfo).port}`, seen };
}

/** An awake session of an agent, and a shell in its Pod. */
async function awakePod(scenario: Scenario, agent: string) {
  const { slack } = await scenario.slackChat(agent);
  await slack.say('hello');
  const { name } = (await sessionOf(agent)).metadata;
  await untilAwake(name);
  const inside = async (command: string): Promise<string> =>
    (await kubectl('exec', name, '--', 'sh', '-c', `(${command}) 2>&1; true`)).trim();
  return { name, inside };
}

const asPod = (claims: TokenClaims, pod: TokenClaims['kubernetes.io']['pod']): Partial<TokenClaims> => ({
  'kubernetes.io': { ...claims['kubernetes.io'], pod },
});

const PROXY = 'http://dovecote-proxy:8082';
const TOKEN = '$(cat /var/run/dovecote/tokens/proxy)';
const STATUS = "-s -o /dev/null -w '%{http_code}'";

clusterVerifies(
  'sec/no-keys-in-pod',
  'the proxy puts the credential of an MCP server in, which is nowhere in the Pod; a server whose Secret is missing is refused alone, until it is there',
  async (scenario) => {
    const { authority, seen } = await outside(scenario);
    const agent = scenario.name('agent');
    const secret = `mcp-secret-${scenario.id}`;
    const server = (name: string) => ({
      name,
      type: 'http',
      http: {
        url: `http://${authority}/mcp`,
        headers: [{ name: 'Authorization', prefix: 'Bearer ', secretRef: { name: `${agent}-${name}` } }],
      },
    });
    const make = (name: string) =>
      scenario.make({ apiVersion: 'v1', kind: 'Secret', metadata: { name: `${agent}-${name}` }, stringData: { token: secret } });
    await make('tickets');
    await scenario.agent({ mcpServers: [server('tickets'), server('wiki')] }, agent);
    const group = await untilCondition('agentgroup', agent, 'McpCredentialsFound', 'False', 'SecretMissing');
    expect(conditionOf(group, 'McpCredentialsFound')?.message).toContain(`MCP server wiki is refused: Secret ${agent}-wiki does not exist`);
    const { inside } = await awakePod(scenario, agent);

    const post = (name: string) => inside(`curl -s -X POST -d '{}' -H "authorization: Bearer ${TOKEN}" ${PROXY}/mcp/${name}`);
    expect(await post('tickets')).toBe('{"from":"outside"}');
    expect(seen.at(-1)?.authorization).toBe(`Bearer ${secret}`);
    expect(await post('wiki')).toContain(`Secret ${agent}-wiki has no key token`);
    const look = `grep -rl -- '${secret}' /cell /workspace /agent /tmp /var/run/dovecote /proc/[0-9]*/environ /etc 2>/dev/null; echo looked`;
    expect(await inside(look)).toBe('looked');

    await make('wiki');
    await untilCondition('agentgroup', agent, 'McpCredentialsFound', 'True', 'Found');
    expect(await post('wiki')).toBe('{"from":"outside"}');
  },
);

clusterVerifies(
  'sec/no-keys-in-pod',
  'only the token of a Pod for the proxy opens it: not one for another audience, none that was asked for by hand, and none of a Pod that is gone',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({}, agent);
    const { inside } = await awakePod(scenario, agent);
    const status = (token: string) => inside(`curl ${STATUS} -H "authorization: Bearer ${token}" ${PROXY}/anthropic/v1/models`);
    expect(await status(TOKEN)).toBe('403'); // known, and its agent has no provider that the proxy serves
    expect(await status('$(cat /var/run/dovecote/tokens/delivery)')).toBe('401');
    const account = `dovecote-agent-${agent}`;
    expect(await status((await kubectl('create', 'token', account, '--audience', 'dovecote-proxy')).trim())).toBe('401');
    expect(await status((await kubectl('create', 'token', 'default', '--audience', 'dovecote-proxy')).trim())).toBe('401');
    // That of a Pod that is gone ends with it; an answer that the proxy remembers would hold for another minute, so it sees this one for the first time.
    const other = scenario.name('other');
    await scenario.agent({}, other);
    const gone = await awakePod(scenario, other);
    const token = await gone.inside('cat /var/run/dovecote/tokens/proxy');
    await kubectl('delete', 'pod', gone.name);
    expect(await status(token)).toBe('401');
  },
);

const key = tokenKey();
if (key === undefined) test.skip('tokens are signed where the key of the cluster can be read [sec/no-keys-in-pod]', () => {});
else {
  clusterVerifies(
    'sec/no-keys-in-pod',
    "a Pod's own token opens the proxy until it expires and closes behind it what it opened; with another audience, Pod or signature it opens nothing",
    async (scenario) => {
      const { authority } = await outside(scenario);
      const agent = scenario.name('agent');
      await scenario.agent({ egress: { allowedHosts: [authority] } }, agent);
      const { name, inside } = await awakePod(scenario, agent);
      const own = await inside('cat /var/run/dovecote/tokens/proxy');
      const status = (token: string) => inside(`curl ${STATUS} -H "authorization: Bearer ${token}" ${PROXY}/anthropic/v1/models`);
      const through = (token: string, path: string) =>
        inside(
          `curl -s --max-time 60 -o /dev/null -w '%{http_code} %{time_total} ' -x "http://session:${token}@dovecote-proxy:8082" http://${authority}/${path}; echo $?`,
        );
      const now = Math.floor(Date.now() / 1_000);
      expect(await status(signedAnew(own, () => ({ exp: now + 600 }), key))).toBe('403'); // signed by us it counts as the kubelet's does
      // The API server allows clocks to differ by a minute.
      const expired = signedAnew(own, () => ({ iat: now - 3_720, nbf: now - 3_720, exp: now - 120 }), key);
      expect([await status(expired), await through(expired, '')]).toEqual(['401', expect.stringMatching(/^407 /)]);
      const { privateKey: stranger } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      for (const [what, token] of [
        ['another audience', signedAnew(own, () => ({ aud: ['dovecote-delivery'] }), key)],
        ['a Pod of this name that was another', signedAnew(own, (claims) => asPod(claims, { name, uid: randomUUID() }), key)],
        ['a Pod that does not exist', signedAnew(own, (claims) => asPod(claims, { name: 'nobody', uid: randomUUID() }), key)],
        ['another signature', signedAnew(own, () => ({}), stranger)],
      ] as const)
        expect([what, await status(token)]).toEqual([what, '401']);

      const short = signedAnew(own, () => ({ exp: Math.floor(Date.now() / 1_000) + 5 }), key);
      const [code, seconds, exit] = (await through(short, 'endless')).split(' ');
      expect([code, Number(seconds) < 30, exit]).toEqual(['200', true, expect.stringMatching(/^(18|56)$/)]); // cut, not ended
      expect(await through(own, '')).toMatch(/^200 /);
    },
  );
}

clusterVerifies(
  'sec/egress',
  'a Pod reaches allowed hosts through the proxy and no others; the policies let nothing else out (the network of this cluster may not enforce them)',
  async (scenario) => {
    const { authority, seen } = await outside(scenario);
    const agent = scenario.name('agent');
    await scenario.agent({ egress: { allowedHosts: [authority, '*.svc.cluster.local'] } }, agent);
    const { name, inside } = await awakePod(scenario, agent);
    const through = (url: string, flags = '') => inside(`curl -s ${flags} -x "http://session:${TOKEN}@dovecote-proxy:8082" ${url}`);
    expect(await through(`http://${authority}/`)).toBe('{"from":"outside"}');
    expect(await through(`http://${authority}/`, '-p')).toBe('{"from":"outside"}');
    expect(seen).toHaveLength(2);
    expect(await through('http://example.com/')).toContain(`add it to spec.egress.allowedHosts of AgentGroup ${agent}`);
    expect(await through('http://169.254.169.254/')).toContain('169.254.169.254:80 may not be reached');
    // A pattern does not lead into the cluster, even where the name is one of the cluster's own.
    expect(await through('http://kubernetes.default.svc.cluster.local:443/')).toContain('may not be reached');

    const { labels = {} } = ((await get('pod', name))?.metadata ?? {}) as { readonly labels?: Record<string, string> };
    const policies = (await list('networkpolicies')).map(({ spec }) => spec as unknown as Policy);
    const component = (role: string): End => ({
      pod: { 'app.kubernetes.io/name': 'dovecote', 'app.kubernetes.io/instance': 'dovecote', 'app.kubernetes.io/component': role },
    });
    const to = (other: End, port: number) => letsThrough(policies, 'Egress', labels, other, { port });
    expect([to(component('delivery'), 7070), to(component('proxy'), 8082)]).toEqual([true, true]);
    for (const port of [80, 443, 6443, 8082]) expect([port, to({}, port)]).toEqual([port, false]);
    for (const role of ['gateway', 'controller'])
      for (const port of [443, 7071, 8080, 9464]) expect([role, port, to(component(role), port)]).toEqual([role, port, false]);
    expect(to({ pod: labels }, 9090)).toBe(false); // another session
  },
);

clusterVerifies(
  'gov/budget',
  'a budget that is used up is a condition and a sentence; a raised one lets the message that waited go on by itself',
  async (scenario) => {
    const model = await ModelEmulator.start(fact('HOST_IP'));
    scenario.later(() => model.close());
    model.mock.addFixture({
      match: { systemMessage: 'Name the conversation' },
      response: { content: 'Birds', usage: { input_tokens: 1, output_tokens: 1 } },
    });
    model.mock.addFixture({
      match: { userMessage: 'second' },
      response: { content: 'heard second', usage: { input_tokens: 1, output_tokens: 1 } },
    });
    model.mock.addFixture({
      match: { userMessage: 'first' },
      response: { content: 'heard first', usage: { input_tokens: 900, output_tokens: 200 } },
    });
    const agent = scenario.name('agent');
    await scenario.make({ apiVersion: 'v1', kind: 'Secret', metadata: { name: agent }, stringData: { 'api-key': 'x' } });
    const provider = { type: 'anthropic', anthropic: { baseURL: model.baseURL, credentialsRef: { name: agent } } };
    const spec = agentGroup(agent, { provider, model: 'claude-test', budget: { tokens: 1_000 } })['spec'] as Record<string, unknown>;
    await scenario.agent(spec, agent);
    const { slack } = await scenario.slackChat(agent);
    await slack.answer(await slack.say('first'), 'heard first');
    await untilCondition('agentgroup', agent, 'WithinBudget', 'False', 'BudgetExhausted');
    expect(conditionOf(await get('agentgroup', agent), 'Ready')?.status).toBe('True');
    const waiting = await slack.say('second');
    await slack.answer(waiting, /has used up its budget/);
    const patch = JSON.stringify({ spec: { budget: { tokens: 1_000_000 } } });
    expect((await execute('kubectl', ['-n', NAMESPACE, 'patch', 'agentgroup', agent, '--type=merge', '-p', patch])).code).toBe(0);
    await untilCondition('agentgroup', agent, 'WithinBudget', 'True', 'BudgetLeft');
    await slack.answer(waiting, 'heard second', 120_000);
  },
  240_000,
);
