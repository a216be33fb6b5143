/** What an AgentGroup lets its tools reach. */

export interface Target {
  /** in lower case, without a final dot */
  readonly host: string;
  readonly port: number;
}

/** named: the host stands there itself, so that whoever wrote it knows where it leads. pattern: it is below a `*.` entry. */
export type Allowance = 'named' | 'pattern' | undefined;

const DEFAULT_PORTS: ReadonlySet<number> = new Set([80, 443]);
const HOST = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** From "host:port" as CONNECT has it, or as a URL's host with the scheme's port. undefined: not of this form. */
export function parseTarget(authority: string, defaultPort?: number): Target | undefined {
  const [, name = '', digits] = /^([^:]+)(?::([0-9]{1,5}))?$/.exec(authority) ?? [];
  const host = name.toLowerCase().replace(/\.$/, '');
  const port = digits === undefined ? defaultPort : Number(digits);
  if (!HOST.test(host) || port === undefined || port < 1 || port > 65_535) return undefined;
  return { host, port };
}

export function allowanceOf({ host, port }: Target, allowedHosts: readonly string[]): Allowance {
  let below: Allowance;
  for (const entry of allowedHosts) {
    const [name = '', digits] = entry.split(':');
    if (digits === undefined ? !DEFAULT_PORTS.has(port) : Number(digits) !== port) continue;
    if (name === host) return 'named';
    if (name.startsWith('*.') && host.endsWith(name.slice(1))) below = 'pattern';
  }
  return below;
}
