/** Tools of an agent that reach beyond its own session: into its other conversations, its memory, and the outside. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from '@jest/globals';
import { fact, get } from '../../harness/cluster.ts';
import { clusterVerifies, type Scenario, untilAsleep } from '../../harness/cluster-scenario.ts';
import type { WebChat } from '../../harness/web-chat.ts';

let count = 0;
/** The agent of this chat calls a tool and says what came of it. */
async function use(chat: WebChat, tool: string, input: object = {}): Promise<string> {
  count += 1;
  const head = `result ${count}: `;
  return (await chat.ask(`tool ${tool} ${JSON.stringify(input)}\nsay ${head}{result}`, head)).slice(head.length);
}

/** Two conversations of one agent: one that fell asleep after it said this, and one that is awake. */
async function twoChats(scenario: Scenario, script: string, answer: string) {
  const agent = scenario.name('agent');
  await scenario.agent({ idleTimeout: '3s' }, agent);
  const open = await scenario.webChat(agent);
  const [asleep, awake] = [open(), open()];
  await asleep.ask(script, answer);
  const session = await asleep.session();
  await untilAsleep(session);
  return { asleep, awake, session };
}

clusterVerifies(
  'tool/search-messages',
  "an agent finds what was said in a conversation that sleeps, by words, role, conversation and time, and wakes nobody by it; another agent's stays hidden",
  async (scenario) => {
    const { awake, session } = await twoChats(scenario, 'say the heron nests in the reeds', 'the heron nests');
    const found = async (chat: WebChat, input: object): Promise<string[]> =>
      [...(await use(chat, 'search_messages', input)).matchAll(/<found session="([^"]+)"[^>]* role="(\w+)"[^>]*>([^<]*)/g)].map((all) =>
        all.slice(1).join(' '),
      );
    expect(await found(awake, { query: 'NESTS heron', role: 'assistant' })).toEqual([`${session} assistant the heron nests in the reeds`]);
    expect(await found(awake, { query: 'heron', session, role: 'user' })).toEqual([`${session} user say the heron nests in the reeds`]);
    expect(await found(awake, { query: 'reeds', session, from: '2019-01-01', to: '2020-01-01' })).toEqual([]);
    const other = scenario.name('other');
    await scenario.agent({}, other);
    expect(await found((await scenario.webChat(other))(), { query: 'heron', role: 'assistant' })).toEqual([]);
    expect(await get('pod', session)).toBeUndefined();
  },
);

clusterVerifies(
  'tool/memory',
  "what one session's Pod wrote, another's reads; a write over what was changed meanwhile is refused with what stands there; another agent has its own",
  async (scenario) => {
    const write = { path: 'people/ann.md', content: 'likes tea', etag: 'new' };
    const { asleep, awake } = await twoChats(scenario, `tool memory_write ${JSON.stringify(write)}\nsay wrote: {result}`, 'wrote: ');
    const etag = /etag (\w+)/.exec(asleep.answers()[0] ?? '')?.[1] ?? '';
    expect(await use(awake, 'memory_read', { path: 'people/ann.md' })).toContain(`(etag ${etag})\nlikes tea`);
    await use(awake, 'memory_edit', { path: 'people/ann.md', old_text: 'tea', new_text: 'coffee' });
    const conflict = await use(asleep, 'memory_write', { path: 'people/ann.md', content: 'likes milk', etag });
    expect(conflict).toMatch(/was changed since you read it.*likes coffee/s);
    const other = scenario.name('other');
    await scenario.agent({}, other);
    expect(await use((await scenario.webChat(other))(), 'memory_read')).toContain('The memory is empty.');
  },
);

clusterVerifies(
  'tool/web-fetch',
  'a page of a host that is allowed is read through the proxy, without the token of the Pod; another is refused with a sentence that says what to change, also behind a redirect',
  async (scenario) => {
    const asked: (readonly [path: string, headers: string])[] = [];
    const site = createServer((incoming, response) => {
      asked.push([`${incoming.headers.host}${incoming.url}`, JSON.stringify(incoming.headers)]);
      if (incoming.url === '/away') response.writeHead(302, { location: `http://${hidden}/` });
      else response.writeHead(200, { 'content-type': 'text/html' });
      response.end('<title>Open</title><script>x()</script><p>Read <a href="/more">more</a></p>');
    });
    await new Promise<void>((resolve) => site.listen(0, fact('HOST_IP'), resolve));
    scenario.later(async () => {
      site.closeAllConnections();
      await new Promise((resolve) => site.close(resolve));
    });
    const open = `${fact('HOST_IP')}:${(site.address() as AddressInfo).port}`;
    const hidden = `site-${scenario.id}.test`;
    const agent = scenario.name('agent');
    await scenario.agent({ egress: { allowedHosts: [open] } }, agent);
    const chat = (await scenario.webChat(agent))();
    expect(await use(chat, 'web_fetch', { url: `http://${open}/page` })).toContain(`# Open\n\nRead [more](http://${open}/more)`);
    for (const url of [`http://${hidden}/`, `https://${hidden}/`, `http://${open}/away`, 'http://169.254.169.254/']) {
      const refused = await use(chat, 'web_fetch', { url });
      expect([url, refused]).toEqual([url, expect.stringContaining('was refused by the proxy')]);
      expect([url, refused]).toEqual([url, expect.stringContaining('spec.egress.allowedHosts')]);
    }
    expect(asked.map(([path]) => path)).toEqual([`${open}/page`, `${open}/away`]);
    expect(asked.map(([, headers]) => headers).join()).not.toMatch(/authorization/i);
  },
);
