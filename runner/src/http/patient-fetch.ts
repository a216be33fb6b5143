/**
 * `fetch` as SDKs want it, over Node's plain client. The built-in one breaks off whoever is silent for five minutes and cannot be told
 * otherwise, and its first use takes 17 MB of a process that has the plain one already.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';

export type Fetch = (target: string | URL, init?: RequestInit) => Promise<Response>;

/** Answers that have no body, by the standard. */
const EMPTY: ReadonlySet<number> = new Set([101, 204, 205, 304]);

/** A code as errors of the network have it. */
class SilentError extends Error {
  override readonly name = 'SilentError';
  readonly code = 'ETIMEDOUT';
}

/**
 * Follows no redirect, asks for no compression. `silenceMs`: a POST that nothing comes back of for so long is broken off, so that calls
 * which nobody waits for any more do not hold their connections; absent, and for other requests, the caller's signal alone ends it.
 * Rejects with the connection's own error.
 */
export function patientFetch(silenceMs?: number): Fetch {
  return async (target, init = {}) => {
    const url = new URL(target);
    const start = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const { method = 'GET', body, signal } = init;
    if (body !== undefined && body !== null && typeof body !== 'string') throw new TypeError('only text can be sent');
    const headers = Object.fromEntries(new Headers(init.headers));
    const limited = method === 'POST' && silenceMs !== undefined;
    const limits = { ...(limited && { timeout: silenceMs }), ...(signal !== undefined && signal !== null && { signal }) };
    const request = start(url, { method, headers, ...limits });
    if (limited) request.once('timeout', () => request.destroy(new SilentError(`nothing came for ${silenceMs} ms`)));
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
