import { networkInterfaces } from 'node:os';

/** What gRPC can listen on: an IPv6 address in brackets, which the downward API gives without. `listen` is host:port. */
export function listenAddress(listen: string): { readonly host: string; readonly port: string } {
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at);
  return { host: host.includes(':') && !host.startsWith('[') ? `[${host}]` : host, port: listen.slice(at + 1) };
}

/** What others dial when we listen on every address: the Pod's own. */
export function reachableHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '[::]') return host;
  const addresses = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  const own =
    addresses.find((entry) => !entry.internal && entry.family === 'IPv4') ??
    addresses.find((entry) => !entry.internal && !entry.address.startsWith('fe80:'));
  if (own === undefined) return '127.0.0.1';
  return own.family === 'IPv6' ? `[${own.address}]` : own.address;
}
