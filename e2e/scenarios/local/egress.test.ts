/** The ways out of a session: commands and web_fetch through the proxy, and the fence around the Pod. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type AgentGroup, AgentGroup as Kind, parseSpec } from '@dovecote/crds';
import { expect } from '@jest/globals';
import { buildNetworkPolicy } from '../../../operator/src/controller/agent-group/network-policy.ts';
import { NETWORK_DEFAULTS } from '../../../operator/src/controller/config.ts';
import { LocalMode } from '../../harness/local-mode.ts';
import { type End, letsThrough, type Policy } from '../../harness/network-policy.ts';
import { webAgent } from '../../harness/objects.ts';
import { PATIENT_MS, stage } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const open = stage(async () => {
  const seen: { url: string | undefined; headers: object }[] = [];
  const server = createServer(({ url, headers }, response) => {
    seen.push({ url, headers });
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.end('the page outside');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const house = await LocalMode.start({ manifests: webAgent({ egress: { allowedHosts: [`127.0.0.1:${port}`, '*.example.com'] } }) });
  return {
    seen,
    port,
    house,
    dispose: async () => {
      await house.dispose();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
});

verifies(
  'sec/egress',
  'a command and web_fetch reach an allowed host through the proxy, with nothing of the token; any other host is refused in a sentence',
  async () => {
    const { house, port, seen } = open.it;
    const chat = house.chat();
    const url = `http://127.0.0.1:${port}`;
    await chat.send(
      `tool exec {"command":"curl -s ${url}/plain; echo; curl -s -p ${url}/tunnel > fetched; curl -s http://elsewhere.example.org/ >> fetched"}\ntool read_file {"path":"fetched"}\nsay done`,
    );
    await chat.answer(/^done$/);
    const session = await chat.session();
    const history = JSON.stringify(house.files.outbound(session, 'SELECT * FROM history ORDER BY id'));
    expect(history).toContain(
      'elsewhere.example.org:80 may not be reached: add it to spec.egress.allowedHosts of AgentGroup assistant to allow it',
    );
    expect(seen.map((one) => one.url)).toEqual(['/plain', '/tunnel']); // by absolute form, and by CONNECT
    for (const { headers } of seen) expect(headers).not.toHaveProperty('proxy-authorization');

    await chat.ask(`tool web_fetch {"url":"${url}/fetched"}\nsay fetched`, /^fetched$/);
    expect(seen.at(-1)?.url).toBe('/fetched');
    await chat.ask('tool web_fetch {"url":"http://169.254.169.254/latest/meta-data/"}\nsay tried', /^tried$/);
    expect(JSON.stringify(house.files.outbound(session, 'SELECT * FROM history ORDER BY id'))).toContain(
      '169.254.169.254:80 may not be reached',
    );
  },
  PATIENT_MS,
);

verifies(
  'sec/egress',
  'the policy of an agent denies all but names, delivery and the proxy, both ways (evaluated, not enforced, here)',
  () => {
    const agent = { metadata: { name: 'helper', uid: 'u' }, spec: parseSpec(Kind, { provider: { type: 'demo' } }) } as AgentGroup;
    const policies = [buildNetworkPolicy(agent, NETWORK_DEFAULTS).spec as Policy];
    const component = (name: string) => ({ 'app.kubernetes.io/component': name });
    const session = { ...component('session'), 'dovecote.dev/agent-group': 'helper' };
    const outside: End = {};
    const dns: End = { pod: { 'k8s-app': 'kube-dns' }, namespace: { 'kubernetes.io/metadata.name': 'kube-system' } };
    const { proxyPort } = NETWORK_DEFAULTS;
    const to = (other: End, port: number, protocol?: string) =>
      letsThrough(policies, 'Egress', session, other, { port, ...(protocol !== undefined && { protocol }) });
    const from = (other: End, port: number) => letsThrough(policies, 'Ingress', session, other, { port });
    expect([to(dns, 53, 'UDP'), to(dns, 53), to({ pod: component('delivery') }, 7070), to({ pod: component('proxy') }, proxyPort)]).toEqual(
      Array(4).fill(true),
    );
    for (const port of [53, 80, 443, 6443, 7070, proxyPort]) expect([port, to(outside, port)]).toEqual([port, false]);
    for (const name of ['gateway', 'controller', 'session'])
      for (const port of [80, 443, 7070, 7071, 8080, 9090])
        expect([name, port, to({ pod: component(name) }, port)]).toEqual([name, port, false]);
    // Labels alone do not make a Pod of another namespace one of ours.
    expect(to({ pod: component('proxy'), namespace: { 'kubernetes.io/metadata.name': 'other' } }, proxyPort)).toBe(false);
    expect(to({ pod: component('delivery') }, 9464)).toBe(false);
    expect(from({ pod: component('delivery') }, 9090)).toBe(true);
    for (const other of [outside, { pod: component('gateway') }, { pod: session }]) expect(from(other, 9090)).toBe(false);
  },
);
