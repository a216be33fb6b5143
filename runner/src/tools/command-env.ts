import { readFileSync } from 'node:fs';
import type { AgentConfig } from '@dovecote/proto';

/** Where the egress proxy is, and the file with the token of this Pod for it. */
export interface ProxyAccess {
  /** base URL */
  readonly url: string;
  readonly tokenFile: string;
}

/**
 * Environment of commands that the model starts. Their way out is the proxy, when the agent may reach any host at all. Its URL holds
 * the Pod's own token, good for that proxy alone and read anew for each command: kubelet exchanges it.
 */
export function commandEnvironment(
  base: Readonly<Record<string, string>>,
  proxy: ProxyAccess | undefined,
  { allowedHosts = [] }: Pick<AgentConfig, 'allowedHosts'>,
): Readonly<Record<string, string>> {
  if (proxy === undefined || allowedHosts.length === 0) return base;
  const url = proxyUrl(proxy);
  if (url === undefined) return base;
  // Programs differ in the case they look for. Nothing goes past the proxy: the network policy would stop it anyway.
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy'];
  return { ...base, ...Object.fromEntries(names.map((name) => [name, url])), NO_PROXY: '', no_proxy: '' };
}

/** With the token as password. undefined: the token is not there yet. */
function proxyUrl({ url, tokenFile }: ProxyAccess): string | undefined {
  try {
    const { protocol, host } = new URL(url);
    return `${protocol}//session:${encodeURIComponent(readFileSync(tokenFile, 'utf8').trim())}@${host}`;
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw e;
  }
}
