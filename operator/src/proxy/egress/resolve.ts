/** From a host that may be reached to the addresses to connect to. Looked up once, here: what was checked is what is connected to. */
import type { LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import type { SessionCaller } from '../authentication.ts';
import { Refusal } from '../refusal.ts';
import { allowanceOf, type Target } from './allowed-hosts.ts';
import { reachOf } from './inner-addresses.ts';

export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

export interface ResolveDeps {
  readonly resolve: Resolve;
  readonly clock: Clock;
  readonly limits: { readonly resolveMs: number };
}

/** Throws Refusal with one sentence that says which host, and where to allow it. */
export async function addressesOf(target: Target, { agentGroup }: SessionCaller, deps: ResolveDeps): Promise<readonly LookupAddress[]> {
  const { host, port } = target;
  const where = `spec.egress.allowedHosts of AgentGroup ${agentGroup.metadata.name}`;
  const allowance = allowanceOf(target, agentGroup.spec.egress?.allowedHosts ?? []);
  if (allowance === undefined)
    throw Refusal.notAllowed('host_not_allowed', `${host}:${port} may not be reached: add it to ${where} to allow it`);
  const family = isIP(host);
  // An address that stands in the list itself was meant, whatever it is of.
  if (family !== 0) return [{ address: host, family }];
  const found = await within(deps, host);
  const allowed = found.filter(({ address }) => {
    const reach = reachOf(address);
    return reach === 'public' || (allowance === 'named' && (reach === 'inner' || host === 'localhost'));
  });
  if (allowed.length > 0) return allowed;
  if (found.length === 0) throw Refusal.badUpstream('unresolved', `${host} has no address`);
  throw Refusal.notAllowed(
    'inner_address',
    `${host} leads to an address inside of the cluster or of its machines, which may not be reached: name ${
      found.every(({ address }) => reachOf(address) === 'inner') ? 'the host' : 'that address'
    } itself in ${where} to allow it`,
  );
}

async function within({ resolve, clock, limits }: ResolveDeps, host: string): Promise<readonly LookupAddress[]> {
  const over = new AbortController();
  const late = clock.sleep(limits.resolveMs, over.signal).then(
    () => {
      throw new Error(`no answer within ${limits.resolveMs} ms`);
    },
    () => [] as readonly LookupAddress[],
  );
  try {
    return await Promise.race([resolve(host), late]);
  } catch (e) {
    throw Refusal.badUpstream('unresolved', `${host} could not be resolved`, { cause: e });
  } finally {
    over.abort();
  }
}

/** A look-up for net.connect that looks nothing up. */
export function fixedLookup(addresses: readonly LookupAddress[]): LookupFunction {
  return (_host, options, callback) => {
    const [first] = addresses;
    if (options.all === true) callback(null, [...addresses]);
    else if (first === undefined) callback(new Error('no address'), '');
    else callback(null, first.address, first.family);
  };
}
