/** /mcp/<server>: an MCP server elsewhere, at the address and with the credentials that the AgentGroup names. Streamable HTTP, both ways. */
import type { Dispatcher } from 'undici';
import type { SessionCaller } from './authentication.ts';
import { type Exchange, forward } from './forward.ts';
import { Refusal } from './refusal.ts';
import type { SecretCache } from './secret-cache.ts';
import { mcpUpstream } from './upstream.ts';

export interface McpRouteDeps {
  readonly secrets: Pick<SecretCache, 'values' | 'forget'>;
  readonly dispatcher: Dispatcher;
}

export const MCP_PREFIX = '/mcp/';
const METHODS: ReadonlySet<string | undefined> = new Set(['POST', 'GET', 'DELETE']);
const SERVER = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const FORWARDED: ReadonlySet<string> = new Set(['accept', 'content-length', 'content-type', 'last-event-id', 'user-agent']);

/** The server's name. Throws Refusal: nothing may stand behind it, not even a query. */
export function mcpServerName(method: string | undefined, url: string): string {
  const name = url.slice(MCP_PREFIX.length);
  if (!SERVER.test(name)) throw Refusal.notServed('an MCP server is at /mcp/<name>, with nothing behind it');
  if (!METHODS.has(method))
    throw new Refusal(
      { status: 405, type: 'invalid_request_error', outcome: 'not_served', headers: { allow: 'POST, GET, DELETE' } },
      'an MCP server takes POST, GET and DELETE',
    );
  return name;
}

/** Answers with the upstream's status. Throws Refusal, or the stream's error. */
export async function serveMcp(exchange: Exchange, { agentGroup }: SessionCaller, server: string, deps: McpRouteDeps): Promise<number> {
  const upstream = await mcpUpstream(agentGroup, server, deps.secrets.values);
  const status = await forward(exchange, upstream, {
    // mcp-session-id, mcp-protocol-version, and what later versions of the protocol add.
    forwarded: (name) => FORWARDED.has(name) || name.startsWith('mcp-'),
    dispatcher: deps.dispatcher,
    what: `MCP server ${server}`,
  });
  if (status === 401) deps.secrets.forget(upstream.secrets);
  return status;
}
