import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ProxyAgent, request } from 'undici';
import { bodyOf, createProxyBench, type ProxyBench, portOf, TOKEN, until } from '../testing/proxy-bench.ts';
import { CERTIFICATE, KEY } from '../testing/self-signed.ts';
import { allowanceOf, parseTarget } from './allowed-hosts.ts';
import { reachOf } from './inner-addresses.ts';

let bench: ProxyBench;
/** what names lead to, in this test's world */
let names: Map<string, string[]>;
let lookups = 0;
const servers: Server[] = [];
const accepted: Socket[] = [];
beforeEach(async () => {
  names = new Map();
  lookups = 0;
  bench = await createProxyBench({
    resolve: async (host) => {
      lookups += 1;
      return (names.get(host) ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    },
    limits: { egressIdleMs: 1_000 },
  });
});
afterEach(async () => {
  await bench.close();
  for (const socket of accepted.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) await new Promise<void>((resolve) => server.close(() => resolve()));
});

const allow = (...allowedHosts: string[]) => bench.agent({ egress: { allowedHosts } });
const basic = (user = 'session', password = TOKEN) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

/** Opens a tunnel by hand; `said` is everything that came back so far. */
async function connectTo(authority: string, authorization = basic()) {
  const socket = connect({ port: Number(bench.proxy.address.split(':')[1]), host: '127.0.0.1', allowHalfOpen: true });
  accepted.push(socket);
  const tunnel = { socket, said: '', ended: false };
  socket.on('data', (chunk) => {
    tunnel.said += String(chunk);
  });
  socket.on('error', () => {});
  socket.once('end', () => {
    tunnel.ended = true;
  });
  const auth = authorization === '' ? '' : `proxy-authorization: ${authorization}\r\n`;
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n${auth}\r\n`);
  await until(() => tunnel.said.includes('\r\n\r\n') || socket.destroyed, 'an answer');
  return tunnel;
}
async function tcpServer(onConnection: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    accepted.push(socket);
    onConnection(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

describe('which hosts are allowed', () => {
  test.each([
    ['example.com:443', ['example.com'], 'named'],
    ['EXAMPLE.com.:80', ['example.com'], 'named'],
    ['example.com:8443', ['example.com'], undefined],
    ['example.com:8443', ['example.com:8443'], 'named'],
    ['example.com:443', ['example.com:8443'], undefined],
    ['a.b.example.com:443', ['*.example.com'], 'pattern'],
    ['example.com:443', ['*.example.com'], undefined],
    ['evilexample.com:443', ['*.example.com'], undefined],
    ['example.com.evil.org:443', ['example.com', '*.example.com'], undefined],
    ['a.example.com:443', ['*.example.com', 'a.example.com'], 'named'],
    ['192.0.2.7:443', ['192.0.2.7'], 'named'],
    ['example.com:443', [], undefined],
  ] as const)('%s of %j: %s', (authority, hosts, wanted) => {
    const target = parseTarget(authority);
    expect(target && allowanceOf(target, hosts)).toBe(wanted);
  });
  test.each([
    '',
    'example.com',
    'example.com:0',
    'example.com:65536',
    'exa mple.com:1',
    'a@example.com:1',
    '[::1]:443',
    'a:b:1',
    '-a:1',
    'ä.com:1',
    'a/b:1',
  ])('%j is no host and port', (authority) => expect(parseTarget(authority)).toBeUndefined());
});

describe('which addresses are inside', () => {
  test.each([
    ['own', ['127.0.0.1', '0.0.0.0', '169.254.169.254', '224.0.0.1', '255.255.255.255', '::', '::1', 'fe80::1', 'ff02::1', '::7f00:1']],
    ['own', ['::ffff:127.0.0.1', '::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe', '2002:7f00:1::', '::ffff:a9fe:a9fe', 'nonsense']],
    ['inner', ['10.96.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', '198.18.0.1', 'fd00:ec2::254', '::ffff:10.0.0.1']],
    ['public', ['93.184.216.34', '172.32.0.1', '11.0.0.1', '2606:2800:220:1::1', '::ffff:93.184.216.34']],
  ] as const)('%s: %j', (reach, addresses) => {
    expect(addresses.map((address) => [address, reachOf(address)])).toEqual(addresses.map((address) => [address, reach]));
  });
});

describe('a tunnel', () => {
  test('carries TLS between a tool and an allowed host; who is inside reads the answer of the host itself', async () => {
    const secure = createTlsServer({ key: KEY, cert: CERTIFICATE }, async (incoming, response) =>
      response.end(`you sent ${await bodyOf(incoming)}`),
    );
    servers.push(secure);
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
    names.set('localhost', ['127.0.0.1']);
    allow(`localhost:${portOf(secure as never)}`);
    const dispatcher = new ProxyAgent({ uri: `http://${bench.proxy.address}`, token: basic(), requestTls: { ca: CERTIFICATE } });
    const answer = await request(`https://localhost:${portOf(secure as never)}/`, { method: 'POST', body: 'a secret', dispatcher });
    expect([answer.statusCode, await answer.body.text()]).toEqual([200, 'you sent a secret']);
    await dispatcher.close();
    await until(async () => (await bench.metric('dovecote_proxy_requests_total', { route: 'egress', outcome: 'ok' })) === 1, 'the end');
  });

  test('passes bytes that came with the request, half-closed ends, and 30 MB whole', async () => {
    const size = 30 * 2 ** 20;
    const port = await tcpServer((socket) => {
      let read = 0;
      socket.on('data', (chunk) => {
        read += chunk.length;
      });
      socket.once('end', () => socket.end(Buffer.alloc(size, String(read % 10))));
    });
    allow(`127.0.0.1:${port}`);
    const tunnel = await connectTo(`127.0.0.1:${port}`);
    expect(tunnel.said).toBe('HTTP/1.1 200 Connection established\r\n\r\n');
    tunnel.socket.end('hello');
    await until(() => tunnel.ended, 'the end');
    expect(tunnel.said.length).toBe(size + 'HTTP/1.1 200 Connection established\r\n\r\n'.length);
    expect(tunnel.said.endsWith('555')).toBe(true);
  });

  test('is refused in one sentence that says which host, and where to allow it', async () => {
    allow('example.com');
    names.set('example.com', ['127.0.0.1']);
    names.set('localhost', ['127.0.0.1']);
    const tunnel = await connectTo('evil.example.org:443');
    expect(tunnel.said).toMatch(/^HTTP\/1\.1 403 /);
    expect(tunnel.said).toContain('x-dovecote-proxy: refused');
    expect(tunnel.said).toContain(
      '\r\n\r\nevil.example.org:443 may not be reached: add it to spec.egress.allowedHosts of AgentGroup helper to allow it\n',
    );
    expect(lookups).toBe(0); // not even its name leaves
    bench.agent({});
    expect((await connectTo('example.com:443')).said).toMatch(/^HTTP\/1\.1 403 /);
  });

  test('does not lead inside by a name from outside: not to this machine, not to the metadata of a cloud, not into the cluster', async () => {
    let reached = 0;
    const port = await tcpServer((socket) => {
      reached += 1;
      socket.end('inside');
    });
    allow(`*.example.com:${port}`, `rebound.example.org:${port}`, `169.254.169.254`, `inner.example.org:${port}`);
    names.set('a.example.com', ['127.0.0.1']);
    names.set('b.example.com', ['::ffff:127.0.0.1', '10.96.0.1', '169.254.169.254']);
    names.set('rebound.example.org', ['127.0.0.1']);
    for (const host of ['a.example.com', 'b.example.com', 'rebound.example.org']) {
      const { said } = await connectTo(`${host}:${port}`);
      expect(said).toMatch(/^HTTP\/1\.1 403 /);
      expect(said).toContain(`${host} leads to an address inside of the cluster`);
    }
    expect(reached).toBe(0);
    // Of several addresses only those outside are taken; and what the list names itself is meant.
    names.set('c.example.com', ['127.0.0.1', '192.0.2.1']);
    expect((await connectTo(`127.0.0.1:${port}`)).said).toMatch(/^HTTP\/1\.1 403 /);
    allow(`127.0.0.1:${port}`);
    const named = await connectTo(`127.0.0.1:${port}`);
    await until(() => named.said.includes('inside'), 'the inside');
    expect(reached).toBe(1);
  });

  test('connects to the address that was checked: a name that leads elsewhere a moment later changes nothing', async () => {
    await bench.close();
    const port = await tcpServer((socket) => socket.end('inside'));
    let asked = 0;
    bench = await createProxyBench({
      resolve: async () => {
        asked += 1;
        return [{ address: asked === 1 ? '192.0.2.1' : '127.0.0.1', family: 4 }];
      },
      limits: { dialMs: 200 },
    });
    allow(`*.example.com:${port}`);
    expect((await connectTo(`a.example.com:${port}`)).said).toMatch(/^HTTP\/1\.1 502 /);
    expect(asked).toBe(1);
  });

  test('needs the token of the session as the password of the user session', async () => {
    allow('example.com');
    for (const authorization of ['', basic('session', 'other'), basic('admin'), `Bearer ${TOKEN}`, 'Basic ====']) {
      const { said } = await connectTo('example.com:443', authorization);
      expect(said).toMatch(/^HTTP\/1\.1 407 /);
      expect(said).toContain('proxy-authenticate: Basic');
    }
  });

  test('through which nothing passes is cut, and one whose host cannot be reached is refused', async () => {
    const port = await tcpServer(() => {});
    allow(`127.0.0.1:${port}`, '127.0.0.1:9', 'nowhere.example.com');
    const idle = await connectTo(`127.0.0.1:${port}`);
    await until(() => idle.socket.destroyed || idle.ended, 'the cut');
    expect((await connectTo('127.0.0.1:9')).said).toMatch(/^HTTP\/1\.1 502 /);
    expect((await connectTo('nowhere.example.com:443')).said).toContain('nowhere.example.com has no address');
    for (const wrong of ['example.com', 'http://example.com/', '[::1]:443'])
      expect((await connectTo(wrong)).said).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe('a request for http://', () => {
  const get = async (url: string, headers: object = {}, method = 'GET', body = ''): Promise<string> => {
    const socket = connect({ port: Number(bench.proxy.address.split(':')[1]), host: '127.0.0.1' });
    let said = '';
    socket.on('data', (chunk) => {
      said += String(chunk);
    });
    const lines = Object.entries({ host: 'elsewhere', 'proxy-authorization': basic(), connection: 'close', ...headers });
    socket.write(`${method} ${url} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`);
    await new Promise((resolve) => socket.once('close', resolve));
    return said;
  };

  test('goes to the allowed host as it is, but for what is ours', async () => {
    const seen: object[] = [];
    const url = await bench.upstream((incoming, response) => {
      seen.push({ url: incoming.url, ...incoming.headers });
      response.writeHead(200, { 'x-own': '1', location: '/there' });
      response.end('hello');
    });
    const port = Number(new URL(url).port);
    allow(`127.0.0.1:${port}`);
    const said = await get(`${url}/a/b?c=d`, { 'x-mine': '1', connection: 'close, x-hop', 'x-hop': '1' });
    expect(said).toMatch(/^HTTP\/1\.1 200 /);
    expect(said).toContain('hello');
    expect(seen).toEqual(
      [{ url: '/a/b?c=d', host: `127.0.0.1:${port}`, 'x-mine': '1', connection: 'close' }].map((one) => expect.objectContaining(one)),
    );
    expect(seen[0]).not.toHaveProperty('proxy-authorization');
    expect(seen[0]).not.toHaveProperty('x-hop');
  });

  test.each(['GET', 'DELETE', 'POST'])(
    '%s has its body framed when nobody knows how long it is: nothing of it is another request',
    async (method) => {
      const seen: string[] = [];
      const url = await bench.upstream(async (incoming, response) => {
        seen.push(`${incoming.method} ${incoming.url} ${await bodyOf(incoming)}`);
        response.end('done');
      });
      allow(`127.0.0.1:${new URL(url).port}`);
      const hidden = 'GET /hidden HTTP/1.1\r\nhost: other\r\n\r\n';
      const chunked = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
      expect(await get(`${url}/open`, { 'transfer-encoding': 'chunked' }, method, chunked)).toContain('done');
      expect(seen).toEqual([`${method} /open ${hidden}`]);
    },
  );

  test('is refused like a tunnel', async () => {
    expect(await get('http://example.com/')).toMatch(/^HTTP\/1\.1 403 [\s\S]*example\.com:80 may not be reached/);
    expect(await get('http://example.com/', { 'proxy-authorization': 'Basic eA==' })).toMatch(/^HTTP\/1\.1 407 /);
    for (const url of ['http://u:p@example.com/', 'https://example.com/', 'ftp://example.com/', 'http:///x'])
      expect(await get(url)).toMatch(/^HTTP\/1\.1 400 /);
  });
});
