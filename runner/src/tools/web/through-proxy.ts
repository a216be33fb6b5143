/** One GET over the egress proxy: as it is for http, through a tunnel (CONNECT) for https. There is no other way out of a Pod. */
import { readFile } from 'node:fs/promises';
import { type ClientRequest, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import type { ProxyAccess } from '../command-env.ts';
import { ToolError } from '../tool.ts';

const HEADERS = {
  'user-agent': 'dovecote',
  accept: 'text/html, text/*;q=0.9, application/json;q=0.9, */*;q=0.5',
  'accept-encoding': 'gzip, br',
};
/** On every answer that is the proxy's own. */
const REFUSED = 'x-dovecote-proxy';
const MAX_SENTENCE_BYTES = 4_096;

/** The answer to a URL without a fragment, its body unread. Throws ToolError: the proxy refused, or could not be reached; else the connection's own error. */
export async function getThroughProxy(url: URL, proxy: ProxyAccess, signal: AbortSignal): Promise<IncomingMessage> {
  const authorization = await credential(proxy);
  return url.protocol === 'https:' ? overTunnel(url, proxy, authorization, signal) : asItIs(url, proxy, authorization, signal);
}

async function asItIs(url: URL, proxy: ProxyAccess, authorization: string, signal: AbortSignal): Promise<IncomingMessage> {
  const headers = { ...HEADERS, host: url.host, 'proxy-authorization': authorization };
  const answer = await answered(toProxy(proxy, { method: 'GET', path: url.href, headers, signal }), proxy);
  if (answer.headers[REFUSED] === undefined) return answer;
  const chunks: Buffer[] = [];
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    if (chunks.length > 16) break;
  }
  throw refusal(url, Buffer.concat(chunks).toString());
}

async function overTunnel(url: URL, proxy: ProxyAccess, authorization: string, signal: AbortSignal): Promise<IncomingMessage> {
  const authority = `${url.hostname}:${url.port === '' ? 443 : url.port}`;
  const socket = await tunnel(url, authority, proxy, authorization, signal);
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const secure = tlsConnect({ socket, ...(isIP(name) === 0 && { servername: name }) });
  const request = httpsRequest({
    createConnection: () => secure,
    host: name,
    method: 'GET',
    path: `${url.pathname}${url.search}`,
    headers: { ...HEADERS, host: url.host },
    signal,
  });
  return new Promise<IncomingMessage>((resolve, reject) => {
    secure.once('error', reject);
    request.once('error', reject);
    request.once('response', resolve);
    request.end();
  });
}

function tunnel(url: URL, authority: string, proxy: ProxyAccess, authorization: string, signal: AbortSignal): Promise<Socket> {
  const headers = { host: authority, 'proxy-authorization': authorization };
  const request = toProxy(proxy, { method: 'CONNECT', path: authority, headers, signal });
  return new Promise<Socket>((resolve, reject) => {
    request.once('error', (e) => reject(unreachable(e, proxy, signal)));
    request.once('connect', ({ statusCode }: IncomingMessage, socket: Socket, head: Buffer) => {
      if (statusCode === 200) {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
        return;
      }
      let said = head.toString();
      socket.on('data', (data: Buffer) => {
        said += data.toString();
        if (said.length > MAX_SENTENCE_BYTES) socket.destroy();
      });
      socket.once('error', () => {}); // it said what it had to say, or nothing
      socket.once('close', () => reject(refusal(url, said)));
    });
    request.once('response', (answer: IncomingMessage) => {
      answer.destroy();
      reject(refusal(url, ''));
    });
    request.end();
  });
}

function answered(request: ClientRequest, proxy: ProxyAccess): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('error', (e) => reject(unreachable(e, proxy, undefined)));
    request.once('response', resolve);
    request.end();
  });
}

function toProxy(proxy: ProxyAccess, options: RequestOptions): ClientRequest {
  const { protocol, hostname, port } = new URL(proxy.url);
  const start = protocol === 'https:' ? httpsRequest : httpRequest;
  return start({ agent: false, host: hostname, port: port === '' ? undefined : port, ...options });
}

async function credential({ tokenFile }: ProxyAccess): Promise<string> {
  try {
    return `Basic ${Buffer.from(`session:${(await readFile(tokenFile, 'utf8')).trim()}`).toString('base64')}`;
  } catch (e) {
    throw new ToolError('The web cannot be reached now: the session has no token yet. Try again later.', { cause: e });
  }
}

function refusal(url: URL, said: string): ToolError {
  const sentence = sentenceIn(said).trim().slice(0, 1_000);
  return new ToolError(`${url.host} was refused by the proxy${sentence === '' ? '' : `: ${sentence}`}.`);
}

/** A bare sentence, or the one in a JSON error. */
function sentenceIn(said: string): string {
  try {
    const { error } = JSON.parse(said) as { error?: { message?: unknown } };
    return typeof error?.message === 'string' ? error.message : '';
  } catch {
    return said;
  }
}

function unreachable(e: Error, proxy: ProxyAccess, signal: AbortSignal | undefined): Error {
  if (signal?.aborted === true || e.name === 'AbortError') return e;
  const { code = e.name } = e as NodeJS.ErrnoException;
  return new ToolError(`The proxy at ${new URL(proxy.url).host} cannot be reached (${code}). Try again later.`, { cause: e });
}
