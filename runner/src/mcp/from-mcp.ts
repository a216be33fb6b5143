/** Errors of the SDK and of fetch, classified once, by class and code. */
import { StreamableHTTPError } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { toError } from '../lifecycle/exit.ts';
import { NotDeliveredError, quoted, ServerFailure } from './failure.ts';

/** Why `what` (a verb in the past, "answer initialize") did not succeed: a clause that begins with a verb. */
export function clauseOf(thrown: unknown, what: string): string {
  if (thrown instanceof ServerFailure) return thrown.message;
  if (thrown instanceof NotDeliveredError) return 'has ended';
  if (isTimeout(thrown)) return `did not ${what} in time`;
  if (thrown instanceof McpError) return `did not ${what}, but said: ${quoted(thrown.message)}`;
  if (thrown instanceof StreamableHTTPError) return httpClause(thrown);
  if (thrown instanceof z.core.$ZodError || thrown instanceof SyntaxError) return `did not ${what} as the protocol wants it`;
  const network = networkCode(thrown);
  if (network !== undefined) return `cannot be reached (${network})`;
  return `did not ${what}: ${quoted(toError(thrown).message)}`;
}

/** The request did not reach the server's work: sent again on a new connection, it runs for the first time. */
export function neverRan(thrown: unknown): boolean {
  if (thrown instanceof NotDeliveredError) return true;
  // 404 and, from many servers, 400: the session that the request belongs to is gone, as after a restart.
  if (thrown instanceof StreamableHTTPError) return thrown.code === 404 || thrown.code === 400;
  return networkCode(thrown) === 'ECONNREFUSED';
}

export function isTimeout(thrown: unknown): boolean {
  return thrown instanceof McpError && thrown.code === ErrorCode.RequestTimeout;
}

/** The server itself answered, if only with an error: it is there. */
export function answered(thrown: unknown): boolean {
  return thrown instanceof McpError && thrown.code !== ErrorCode.RequestTimeout && thrown.code !== ErrorCode.ConnectionClosed;
}

function httpClause({ code = -1, message }: StreamableHTTPError): string {
  const said = quoted(sentenceOf(message.replace(/^Streamable HTTP error: (Error POSTing to endpoint: ?)?/, '')));
  const more = said === '' ? '' : `: ${said}`;
  if (code < 0) return `answers with something that is not MCP${more}`;
  return code === 401 || code === 403 ? `may not be used (HTTP ${code}${more})` : `answers with HTTP ${code}${more}`;
}

/** The proxy and most servers put their sentence into JSON. */
function sentenceOf(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: { message?: unknown } };
    return typeof error?.message === 'string' ? error.message : body;
  } catch {
    return body;
  }
}

/** The code below "fetch failed", or of a token file that cannot be read. */
function networkCode(thrown: unknown): string | undefined {
  const { code, cause } = Object(thrown) as { readonly code?: unknown; readonly cause?: unknown };
  if (typeof code === 'string') return code;
  return cause === undefined ? undefined : networkCode(cause);
}
