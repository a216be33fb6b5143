/** `fetch` as the SDK wants it, over Node's own client: the built-in one breaks off whoever is silent for five minutes, and cannot be told otherwise. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';

/** Answers that have no body, by the standard. */
const EMPTY: ReadonlySet<number> = new Set([101, 204, 205, 304]);

/** A code as errors of the network have it. */
class SilentError extends Error {
  override readonly name = 'SilentError';
  readonly code = 'ETIMEDOUT';
}

/**
 * Follows no redirect. `silenceMs`: a POST that nothing comes back of for so long is broken off, so that calls which nobody waits for
 * any more do not hold their connections; other requests may be silent for ever. Rejects with the connection's own error.
 */
export function patientFetch(silenceMs: number): FetchLike {
  return async (target, init = {}) => {
    const url = new URL(target);
    const start = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const { method = 'GET', body, signal } = init;
    if (body !== undefined && body !== null && typeof body !== 'string') throw new TypeError('only text is sent to an MCP server');
    const headers = Object.fromEntries(new Headers(init.headers));
    const limits = { ...(method === 'POST' && { timeout: silenceMs }), ...(signal !== undefined && signal !== null && { signal }) };
    const request = start(url, { method, headers, ...limits });
    if (method === 'POST') request.once('timeout', () => request.destroy(new SilentError(`nothing came for ${silenceMs} ms`)));
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve);
      request.on('error', reject); // also behind the response: its body tells, and nobody else listens
      request.end(body ?? undefined);
    });
    const { statusCode = 0, statusMessage = '' } = answer;
    const shown = { status: statusCode, statusText: statusMessage, headers: headersOf(answer) };
    if (!EMPTY.has(statusCode)) return new Response(Readable.toWeb(answer) as ReadableStream<Uint8Array>, shown);
    answer.resume();
    return new Response(null, shown);
  };
}

function headersOf({ headersDistinct }: IncomingMessage): Headers {
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(headersDistinct)) for (const value of values) headers.append(name, value);
  return headers;
}
