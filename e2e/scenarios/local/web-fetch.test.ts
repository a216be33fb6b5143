import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from '@jest/globals';
import { LocalMode, NODE } from '../../harness/local-mode.ts';
import { webAgent } from '../../harness/objects.ts';
import { PATIENT_MS, stage } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

interface Site {
  readonly host: string;
  readonly asked: IncomingMessage[];
  close(): void;
}

async function site(answer: (incoming: IncomingMessage, response: ServerResponse) => void): Promise<Site> {
  const asked: IncomingMessage[] = [];
  const server: Server = createServer((incoming, response) => {
    asked.push(incoming);
    answer(incoming, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

const scene = stage(async () => {
  const hidden = await site((_incoming, response) => response.end('what nobody may read'));
  const open = await site((incoming, response) => {
    if (incoming.url === '/away') response.writeHead(302, { location: `http://${hidden.host}/` });
    else response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<title>Open</title><script>x()</script><p>Read <a href="/more">more</a></p>');
  });
  const house = await LocalMode.start({ manifests: webAgent({ egress: { allowedHosts: [open.host] } }) });
  return {
    house,
    open,
    hidden,
    dispose: async () => {
      await house.dispose();
      open.close();
      hidden.close();
    },
  };
});

verifies(
  'tool/web-fetch',
  'a page of a host that is allowed is read as Markdown through the proxy; another host is refused with its sentence, also behind a redirect and for commands',
  async () => {
    const { house, open, hidden } = scene.it;
    const chat = house.chat();
    const fetchIn = (host: string): string =>
      `tool exec ${JSON.stringify({ command: `NODE_USE_ENV_PROXY=1 ${NODE} -e "fetch('http://${host}/').then(async (r) => console.log(r.status, await r.text()))"` })}`;
    await chat.ask(
      [
        `tool web_fetch {"url":"http://${open.host}/page#part"}`,
        `tool web_fetch {"url":"http://${hidden.host}/"}`,
        `tool web_fetch {"url":"https://${hidden.host}/"}`,
        `tool web_fetch {"url":"http://${open.host}/away"}`,
        fetchIn(open.host),
        fetchIn(hidden.host),
        'say all fetched',
      ].join('\n'),
      'all fetched',
    );
    const results = house.files
      .history(await chat.session())
      .flatMap(({ content }) => JSON.parse(content) as { type: string; text: string; isError?: boolean }[])
      .filter(({ type }) => type === 'tool_result');
    expect(results[0]?.text).toBe(`(http://${open.host}/page, status 200, text/html)\n# Open\n\nRead [more](http://${open.host}/more)`);
    for (const refused of results.slice(1, 4)) {
      expect(refused.isError).toBe(true);
      expect(refused.text).toContain(`${hidden.host} was refused by the proxy`);
      expect(refused.text).toContain('spec.egress.allowedHosts');
    }
    expect(results[4]?.text).toMatch(/^200 <title>Open/);
    expect(results[5]?.text).toContain('403');
    expect(results[5]?.text).not.toContain('nobody may read');
    expect(hidden.asked).toEqual([]);
    // What the sites see of it holds no token.
    for (const { headers } of open.asked) expect(Object.keys(headers)).not.toContain('proxy-authorization');
  },
  PATIENT_MS,
);
