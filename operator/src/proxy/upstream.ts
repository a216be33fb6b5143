/** Where requests of an agent go and what opens the door there. Values of Secrets pass through here. */
import type { AgentGroup } from '@dovecote/crds';
import { Refusal } from './refusal.ts';

export interface Upstream {
  readonly url: string;
  /** what the proxy adds: credentials */
  readonly headers: Readonly<Record<string, string>>;
  /** names of the Secrets that they are from */
  readonly secrets: readonly string[];
}

/** The values of a Secret by its name, decoded; undefined: it does not exist. */
export type Secrets = (name: string) => Promise<Readonly<Record<string, string>> | undefined>;

const PUBLIC_API = 'https://api.anthropic.com';
/** Headers that say where a message ends or which connection it is on: in a spec they would let one request hide in another. */
const FRAMING: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const HEADER_VALUE = /^[\t\x20-\x7e]+$/;

/** `path` is that of the provider's API, with its query. Throws Refusal. */
export async function modelUpstream({ metadata, spec }: AgentGroup, path: string, secrets: Secrets): Promise<Upstream> {
  const provider = spec.provider.anthropic;
  if (spec.provider.type !== 'anthropic' || provider === undefined)
    throw Refusal.notAllowed('no_credential', `AgentGroup ${metadata.name} has no provider that the proxy serves`);
  const apiKey = await secretValue(provider.credentialsRef, `AgentGroup ${metadata.name}`, secrets);
  return {
    url: `${(provider.baseURL ?? PUBLIC_API).replace(/\/+$/, '')}${path}`,
    headers: { 'x-api-key': apiKey },
    secrets: [provider.credentialsRef.name],
  };
}

/** Throws Refusal: no such server, or a Secret of it is missing. */
export async function mcpUpstream({ metadata, spec }: AgentGroup, server: string, secrets: Secrets): Promise<Upstream> {
  const http = spec.mcpServers?.find(({ name }) => name === server)?.http;
  if (http === undefined) throw Refusal.notServed(`AgentGroup ${metadata.name} has no MCP server ${server} of type http`);
  const whose = `MCP server ${server} of AgentGroup ${metadata.name}`;
  const headers: Record<string, string> = {};
  for (const { name, prefix = '', secretRef } of http.headers ?? []) {
    if (FRAMING.has(name.toLowerCase())) throw Refusal.notAllowed('bad_header', `${whose} may not set the header ${name}`);
    headers[name.toLowerCase()] = prefix + (await secretValue(secretRef, whose, secrets));
  }
  return { url: http.url, headers, secrets: (http.headers ?? []).map(({ secretRef }) => secretRef.name) };
}

async function secretValue(
  { name, key }: { readonly name: string; readonly key: string },
  whose: string,
  secrets: Secrets,
): Promise<string> {
  let data: Awaited<ReturnType<Secrets>>;
  try {
    data = await secrets(name);
  } catch (e) {
    throw Refusal.unavailable('secret_unread', `Secret ${name}, which ${whose} names, cannot be read at the moment`, { cause: e });
  }
  const value = (data?.[key] ?? '').trim();
  if (value === '') throw Refusal.notAllowed('no_credential', `Secret ${name} has no key ${key}, which ${whose} names`);
  // A line break in it would begin another header, and the library's own error would quote it.
  if (!HEADER_VALUE.test(value))
    throw Refusal.notAllowed('no_credential', `key ${key} of Secret ${name}, which ${whose} names, holds what no HTTP header can carry`);
  return value;
}
