import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { CERTIFICATE_NAME } from '@dovecote/proto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { selfSigned } from '../../container-service/certificate.ts';
import { ToolBench } from '../../testing/tool-bench.ts';
import { htmlToMarkdown } from './html-to-markdown.ts';

type Handler = (incoming: IncomingMessage, response: ServerResponse) => void;

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const listening = (server: Server): Promise<void> => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve()));

let handler: Handler = (_incoming, response) => response.end();
const site = createServer((incoming, response) => handler(incoming, response));
const { certificate, key } = selfSigned(Date.now());
const secureSite = createHttpsServer({ cert: certificate, key }, (incoming, response) => handler(incoming, response)) as Server;
/** What the proxy let through or refused: "GET a.test", "CONNECT b.test". */
const seen: string[] = [];

/** The proxy's two ways, scripted: every name leads here, `secret.test` is not allowed. The real one is met by the scenarios. */
const proxy = createServer((incoming, response) => {
  const { host, href } = new URL(incoming.url ?? '');
  seen.push(`GET ${host} ${incoming.headers['proxy-authorization']}`);
  if (host.startsWith('secret.test')) {
    response.writeHead(403, { 'x-dovecote-proxy': 'refused', 'content-type': 'application/json' });
    response.end(JSON.stringify({ type: 'error', error: { type: 'permission_error', message: 'secret.test may not be reached' } }));
    return;
  }
  const outgoing = request({ host: '127.0.0.1', port: portOf(site), path: new URL(href).pathname, headers: { host } }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  outgoing.once('error', () => response.destroy());
  outgoing.end();
});
proxy.on('connect', (incoming: IncomingMessage, client: Socket) => {
  seen.push(`CONNECT ${incoming.url} ${incoming.headers['proxy-authorization']}`);
  client.on('error', () => {});
  if (incoming.url?.startsWith('secret.test') === true) {
    client.end('HTTP/1.1 403 Refused\r\nx-dovecote-proxy: refused\r\nconnection: close\r\n\r\nsecret.test may not be reached\n');
    return;
  }
  const upstream = connect(portOf(secureSite), '127.0.0.1', () => client.write('HTTP/1.1 200 OK\r\n\r\n'));
  upstream.on('error', () => client.destroy());
  upstream.pipe(client).pipe(upstream);
});

const folder = mkdtempSync(join(tmpdir(), 'dovecote-web-'));
const tokenFile = join(folder, 'token');
let bench: ToolBench;
const trusted = getCACertificates();
beforeAll(async () => {
  await Promise.all([site, secureSite, proxy].map(listening));
  setDefaultCACertificates([...trusted, certificate]);
  bench = new ToolBench({ agent: { allowedHosts: ['*.test'] }, proxy: { url: `http://127.0.0.1:${portOf(proxy)}`, tokenFile } });
});
beforeEach(() => {
  seen.length = 0;
  writeFileSync(tokenFile, 'the-token\n');
});
afterAll(async () => {
  setDefaultCACertificates(trusted);
  for (const server of [site, secureSite, proxy]) {
    server.closeAllConnections();
    server.close();
  }
  await bench.close();
  rmSync(folder, { recursive: true });
});

const CREDENTIAL = `Basic ${Buffer.from('session:the-token').toString('base64')}`;
const PAGE = '<title>The  page</title><script>bad()</script><p>Hello <a href="/there">you</a></p>';
const serve = (body: string | Buffer, headers: Record<string, string> = { 'content-type': 'text/html' }, status = 200): void => {
  handler = (_incoming, response) => {
    response.writeHead(status, headers);
    response.end(body);
  };
};
const fetched = (url: string, more: object = {}) => bench.use('web_fetch', { url, ...more });

describe('web_fetch', () => {
  test('shows a page as Markdown, over http and https, each through the proxy with the token of that moment', async () => {
    serve(PAGE);
    const text = (base: string): string => `(${base}/, status 200, text/html)\n# The page\n\nHello [you](${base}/there)`;
    expect(await fetched('http://a.test/#part')).toEqual({ isError: false, text: text('http://a.test') });
    const secure = `https://${CERTIFICATE_NAME}`;
    expect(await fetched(secure)).toEqual({ isError: false, text: text(secure) });
    writeFileSync(tokenFile, 'exchanged');
    await fetched('http://a.test:8080/x');
    expect(seen).toEqual([
      `GET a.test ${CREDENTIAL}`,
      `CONNECT ${CERTIFICATE_NAME}:443 ${CREDENTIAL}`,
      `GET a.test:8080 Basic ${Buffer.from('session:exchanged').toString('base64')}`,
    ]);
  });

  test('a host that the proxy refuses is told with its sentence, also when a redirect leads there', async () => {
    for (const url of ['http://secret.test/', 'https://secret.test/'])
      expect(await fetched(url)).toEqual({ isError: true, text: 'secret.test was refused by the proxy: secret.test may not be reached.' });
    serve('', { location: 'https://secret.test/inner' }, 302);
    expect((await fetched('http://a.test/')).text).toContain('refused by the proxy');
    expect(seen.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      'GET secret.test',
      'CONNECT secret.test:443',
      'GET a.test',
      'CONNECT secret.test:443',
    ]);
  });

  test.each(['file:///etc/passwd', 'ftp://a.test/', 'http://user:pw@a.test/', 'a.test', 'http://', 'javascript:alert(1)'])(
    'an address that is not for the web is not asked for: %s',
    async (url) => {
      expect((await fetched(url)).isError).toBe(true);
      serve('', { location: url.includes(':') ? url : 'http://' }, 301);
      expect((await fetched('http://a.test/')).isError).toBe(true);
      expect(seen).toHaveLength(1);
    },
  );

  test('redirects without end, hosts that hang up, and certificates of others are told in words', async () => {
    serve('', { location: '/again' }, 307);
    expect((await fetched('http://a.test/')).text).toContain('leads on more than 5 times');
    handler = (incoming) => incoming.socket.destroy();
    expect((await fetched('http://a.test/')).isError).toBe(true);
    expect((await fetched('https://other.test/')).text).toContain('could not be fetched (ERR_TLS_CERT_ALTNAME_INVALID)');
    expect(
      (
        await new ToolBench({ agent: { allowedHosts: ['a'] }, proxy: { url: 'http://127.0.0.1:1', tokenFile } }).use('web_fetch', {
          url: 'https://a.test',
        })
      ).text,
    ).toBe('The proxy at 127.0.0.1:1 cannot be reached (ECONNREFUSED). Try again later.');
    serve('not here', { 'content-type': 'text/plain' }, 404);
    expect(await fetched('http://a.test/')).toEqual({ isError: true, text: '(http://a.test/, status 404, text/plain)\nnot here' });
    rmSync(tokenFile);
    expect((await fetched('http://a.test/')).text).toContain('no token yet');
  });

  test('a host that never answers, or never ends, is given up when its time is over', async () => {
    const clock = {
      now: () => Date.now(),
      every: () => () => {},
      sleep: (ms: number) => (ms === 60_000 ? new Promise<void>((r) => setTimeout(r, 300)) : new Promise<void>(() => {})),
    };
    handler = () => {};
    expect((await bench.use('web_fetch', { url: 'http://a.test/' }, { clock })).text).toBe(
      'http://a.test/ was not answered within 60 seconds.',
    );
    handler = (_incoming, response) => {
      response.writeHead(200, { 'content-type': 'text/plain' });
      const drip = setInterval(() => response.write('x'), 10);
      response.once('close', () => clearInterval(drip));
    };
    expect((await bench.use('web_fetch', { url: 'http://a.test/' }, { clock })).text).toContain('within 60 seconds');
    const stop = new AbortController();
    const waiting = bench.use('web_fetch', { url: 'http://a.test/' }, { signal: stop.signal });
    stop.abort(new Error('stop'));
    expect((await waiting).text).toBe('Stopped before it ended.');
  });

  test('a body is unpacked, read in its charset, and cut at the limit, also one that is large only when unpacked', async () => {
    serve(brotliCompressSync('packed'), { 'content-type': 'text/plain', 'content-encoding': 'br' });
    expect((await fetched('http://a.test/')).text).toContain('\npacked');
    serve(Buffer.from([0x63, 0x61, 0x66, 0xe9]), { 'content-type': 'text/plain; charset=iso-8859-1' });
    expect((await fetched('http://a.test/')).text).toContain('\ncafé');
    serve(gzipSync(Buffer.alloc(300_000_000, 'x')), { 'content-type': 'text/plain', 'content-encoding': 'gzip' });
    const before = process.memoryUsage().rss;
    const { text } = await fetched('http://a.test/');
    expect(text).toContain('only the first 2097152 bytes');
    expect(text).toContain('characters left out');
    expect(text.length).toBeLessThan(60_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(150_000_000);
    serve(Buffer.from('not gzip'), { 'content-type': 'text/plain', 'content-encoding': 'gzip' });
    expect((await fetched('http://a.test/')).text).toContain('could not be fetched (Z_DATA_ERROR)');
  });

  test('what is no text goes to a file, within the session and within the limit', async () => {
    const picture = Buffer.from([0x89, 0x50, 0, 255]);
    serve(picture, { 'content-type': 'image/png' });
    expect((await fetched('http://a.test/p.png')).text).toContain('Use save_to');
    expect((await fetched('http://a.test/p.png', { save_to: 'pictures/p.png' })).text).toBe(
      'Wrote /workspace/pictures/p.png (4 bytes, image/png).',
    );
    expect(readFileSync(join(bench.cell.workspace, 'pictures/p.png'))).toEqual(picture);
    expect((await fetched('http://a.test/p.png', { save_to: '../p.png' })).isError).toBe(true);
    serve(Buffer.alloc(26 * 1024 * 1024), { 'content-type': 'image/png' });
    expect((await fetched('http://a.test/p.png', { save_to: 'big' })).text).toContain('more than 26214400 bytes');
  });

  test('is offered only when some host may be reached and there is a way out', async () => {
    for (const options of [
      { agent: { allowedHosts: [] }, proxy: { url: 'http://x', tokenFile } },
      { proxy: { url: 'http://x', tokenFile } },
      { agent: { allowedHosts: ['a'] } },
    ]) {
      const other = new ToolBench(options);
      expect(other.toolbox.names).not.toContain('web_fetch');
      await other.close();
    }
  });
});

describe('a page as Markdown', () => {
  const markdown = async (html: string): Promise<string> => (await htmlToMarkdown(html, new URL('https://x.test/a/b'))).markdown;

  test.each([
    ['<h2>Head</h2><p>One\n  two</p><p>Three<br>four</p>', '## Head\n\nOne two\n\nThree\nfour'],
    ['<ul><li>a<li>b<ul><li>c</ul></ul><ol><li>x<li>y</ol>', '- a\n- b\n  - c\n\n1. x\n2. y'],
    ['<p>see <a href="c?q=1">the <b>link</b></a>, <a href="#top">up</a>', 'see [the link](https://x.test/a/c?q=1), up'],
    ['<a href="javascript:x()">click</a> <a href="/x"></a>end', 'click end'],
    ['<pre>a  b\n  c</pre><p>after', '```\na  b\n  c\n```\n\nafter'],
    ['<blockquote><p>said</p><p>more</p></blockquote>', '> said\n> \n> more'],
    ['<table><tr><th>A<th>B<tr><td>1<td>2</table>', '| A | B\n| 1 | 2'],
    ['<nav>menu</nav><style>x{}</style><p>text<img alt="cat" src=x></p><noscript>no</noscript>', 'text(picture: cat)'],
    ['', ''],
    ['<p>a&lt;b&amp;c', 'a<b&c'],
    [`<div>around</div><main><p>${'main '.repeat(100)}</p></main><footer>foot</footer>`, 'main '.repeat(100).trim()],
  ])('%s', async (html, expected) => {
    expect(await markdown(html)).toBe(expected);
  });

  test('a page made to be slow is given up, and the event loop turns meanwhile', async () => {
    await expect(markdown('<b>'.repeat(500_000))).rejects.toThrow('nested too deep');
    let turns = 0;
    const count = setInterval(() => {
      turns += 1;
    }, 1);
    expect((await markdown('<p>x <a href="/y">z</a></p>'.repeat(70_000))).length).toBeGreaterThan(70_000);
    clearInterval(count);
    expect(turns).toBeGreaterThan(3);
  });
});
