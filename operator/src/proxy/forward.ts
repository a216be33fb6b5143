/** One request on to an upstream and its answer back: unbuffered both ways, ended on one side when it ends on the other. */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { type Dispatcher, request } from 'undici';
import { Refusal } from './refusal.ts';
import type { Upstream } from './upstream.ts';

export interface Exchange {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborts when the client is gone or its time is up. */
  readonly signal: AbortSignal;
}

/** Sees what passes. Never throws. */
export interface Observer {
  headers(statusCode: number, headers: IncomingHttpHeaders): void;
  chunk(chunk: Buffer): void;
}

export interface ForwardOptions {
  /** request headers that go on; whatever else a Pod sends (cookies, forwarded-for, keys of its own) does not */
  readonly forwarded: (name: string) => boolean;
  readonly dispatcher: Dispatcher;
  /** what stands there, for a sentence: "the model provider" */
  readonly what: string;
  readonly observer?: Observer;
}

/** Of one connection only, about another account's sessions, or ours to say. */
const KEPT_BACK: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'location',
  'proxy-authenticate',
  'proxy-connection',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'www-authenticate',
  'x-dovecote-proxy',
]);

/** Answers with the upstream's status when its answer is out, whole. Throws Refusal when there was none, the stream's error when it broke off. */
export async function forward({ incoming, response, signal }: Exchange, upstream: Upstream, options: ForwardOptions): Promise<number> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (typeof value === 'string' && options.forwarded(name)) headers[name] = value;
  }
  // Compressed, usage could not be read from it as it passes.
  Object.assign(headers, { 'accept-encoding': 'identity' }, upstream.headers);
  const method = incoming.method as Dispatcher.HttpMethod;
  const answer = await request(upstream.url, {
    method,
    headers,
    body: method === 'POST' ? incoming : null,
    dispatcher: options.dispatcher,
    signal,
  }).catch((e: unknown) => {
    signal.throwIfAborted();
    throw Refusal.badUpstream('upstream_unreachable', `${options.what} could not be reached`, { cause: e });
  });
  if (answer.statusCode >= 300 && answer.statusCode < 400 && answer.statusCode !== 304) {
    answer.body.on('error', () => {}); // thrown away, whatever becomes of it
    answer.body.destroy();
    throw Refusal.badUpstream('redirect', `${options.what} answered with a redirect, and credentials are not carried elsewhere`);
  }
  options.observer?.headers(answer.statusCode, answer.headers);
  const passed = Object.entries(answer.headers).filter(
    (entry): entry is [string, string | string[]] => entry[1] !== undefined && !KEPT_BACK.has(entry[0]),
  );
  response.writeHead(answer.statusCode, Object.fromEntries(passed));
  // On its way with what follows at once, or, of a stream that has nothing to say yet, alone.
  setImmediate(() => response.flushHeaders());
  const { observer } = options;
  if (observer !== undefined) answer.body.on('data', (chunk: Buffer) => observer.chunk(chunk));
  await pipeline(answer.body, response);
  return answer.statusCode;
}
