/** Who we are to an API server: client-node's KubeConfig knows the many ways (in-cluster token, certificates, exec plugins, OIDC). */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import type { Clock } from '../lib/clock.ts';
import { isJsonObject } from './json.ts';

export interface TlsOptions {
  readonly ca?: RequestOptions['ca'];
  readonly cert?: RequestOptions['cert'];
  readonly key?: RequestOptions['key'];
  readonly pfx?: RequestOptions['pfx'];
  readonly passphrase?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsOptions;
  /** Changes when `tls` does: connections made with the old one must not be used for new requests. */
  readonly tlsId: string;
}

/** A file when a path is given; else the Pod's service account, $KUBECONFIG or ~/.kube/config, in client-node's order. */
export function loadKubeConfig(options: { readonly path?: string | undefined; readonly context?: string | undefined } = {}): KubeConfig {
  const config = new KubeConfig();
  if (options.path === undefined) config.loadFromDefault();
  else config.loadFromFile(options.path);
  if (options.context !== undefined) config.setCurrentContext(options.context);
  return config;
}

/** Tokens and certificates are rotated as files: they are read again this often, and at once after a 401. */
const FRESH_MS = 10_000;

export class CredentialSource {
  readonly server: string;
  readonly proxyUrl: string | undefined;
  readonly #config: KubeConfig;
  readonly #clock: Clock;
  #last: { readonly credentials: Promise<Credentials>; readonly at: number } | undefined;

  /** Throws when the config names no cluster. */
  constructor(config: KubeConfig, clock: Clock) {
    const cluster = config.getCurrentCluster();
    if (cluster === null)
      throw new Error(`cannot reach a cluster: context ${JSON.stringify(config.getCurrentContext())} of the kubeconfig names none`);
    this.server = cluster.server;
    this.proxyUrl = cluster.proxyUrl;
    if (this.proxyUrl?.startsWith('socks') === true)
      throw new Error(`cannot reach ${this.server} through ${this.proxyUrl}: SOCKS is not supported`);
    this.#config = config;
    this.#clock = clock;
  }

  get(): Promise<Credentials> {
    const now = this.#clock.now();
    if (this.#last !== undefined && Math.abs(now - this.#last.at) < FRESH_MS) return this.#last.credentials;
    const credentials = this.#read();
    this.#last = { credentials, at: now };
    credentials.catch(() => this.forget()); // a plugin that failed once is asked again, not believed for ten seconds
    return credentials;
  }

  /** The server did not accept them. */
  forget(): void {
    this.#last = undefined;
  }

  async #read(): Promise<Credentials> {
    const options: RequestOptions = { headers: {} };
    await this.#config.applyToHTTPSOptions(options);
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = String(value);
    // Read by ourselves: client-node keeps the old one for a minute, also after a 401.
    const tokenFile = tokenFileOf(this.#config);
    if (tokenFile !== undefined) headers['authorization'] = `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}`;
    if (typeof options.auth === 'string') headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
    const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = options;
    const tls = Object.fromEntries(
      Object.entries({ ca, cert, key, pfx, passphrase, servername, rejectUnauthorized }).filter(([, value]) => value !== undefined),
    ) as TlsOptions;
    return { headers, tls, tlsId: createHash('sha256').update(JSON.stringify(tls)).digest('hex') };
  }
}

/** Where the token of the Pod's service account stands, when that is who we are. */
function tokenFileOf(config: KubeConfig): string | undefined {
  const provider: unknown = config.getCurrentUser()?.authProvider;
  const settings = isJsonObject(provider) ? provider['config'] : undefined;
  const path = isJsonObject(settings) ? settings['tokenFile'] : undefined;
  return typeof path === 'string' ? path : undefined;
}
