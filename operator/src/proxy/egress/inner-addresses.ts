/** Addresses that a name from outside must not lead to: this machine, the cluster, the metadata service of a cloud. */
import { BlockList, isIP } from 'node:net';

const own = new BlockList();
const inner = new BlockList();
/** A few forms of IPv6 carry an IPv4 address inside, which only a translator on the way would reveal. */
const carriers = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16], // link-local; clouds hand out credentials at 169.254.169.254
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  own.addSubnet(network, prefix, 'ipv4');
for (const [network, prefix] of [
  ['::', 96], // unspecified, loopback, and IPv4 addresses in a form of old
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  own.addSubnet(network, prefix, 'ipv6');
for (const [network, prefix] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
] as const)
  inner.addSubnet(network, prefix, 'ipv4');
for (const [network, prefix] of [
  ['fc00::', 7],
  ['fec0::', 10],
] as const)
  inner.addSubnet(network, prefix, 'ipv6');
for (const [network, prefix] of [
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
] as const)
  carriers.addSubnet(network, prefix, 'ipv6');

/** own: of this machine or link. inner: of a private network. public: all others. */
export type Reach = 'own' | 'inner' | 'public';

export function reachOf(address: string): Reach {
  const family = isIP(address);
  if (family === 0) return 'own'; // not an address: goes nowhere
  const mapped = /^::ffff:(.+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return isIP(mapped) === 4 ? reachOf(mapped) : 'own';
  const type = family === 4 ? 'ipv4' : 'ipv6';
  if (own.check(address, type) || (type === 'ipv6' && carriers.check(address, type))) return 'own';
  return inner.check(address, type) ? 'inner' : 'public';
}
