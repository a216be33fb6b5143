/** CONNECT: bytes between a tool and a host that it may reach. What they say is between the two. */
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SessionCaller } from '../authentication.ts';
import { Refusal } from '../refusal.ts';
import { parseTarget, type Target } from './allowed-hosts.ts';
import { watchIdle } from './idle.ts';
import { addressesOf, fixedLookup, type ResolveDeps } from './resolve.ts';

export interface TunnelDeps extends ResolveDeps {
  readonly limits: { readonly resolveMs: number; readonly dialMs: number; readonly egressIdleMs: number };
}

/** What went through. */
export interface Traffic {
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

export interface OpenTunnel {
  readonly client: Duplex;
  /** what the client sent before it was answered */
  readonly head: Buffer;
  readonly signal: AbortSignal;
  /** The client was answered: from now on nothing of ours may be said to it. */
  readonly onOpen: () => void;
}

/** Throws Refusal. */
export function tunnelTarget({ url = '' }: IncomingMessage): Target {
  const target = parseTarget(url);
  if (target === undefined)
    throw new Refusal({ status: 400, type: 'invalid_request_error', outcome: 'not_served' }, 'CONNECT needs host:port');
  return target;
}

/** Resolves when both sides have ended. Throws Refusal while nothing was answered, else what cut it. */
export async function tunnel(
  { client, head, signal, onOpen }: OpenTunnel,
  target: Target,
  caller: SessionCaller,
  deps: TunnelDeps,
): Promise<Traffic> {
  const addresses = await addressesOf(target, caller, deps);
  const upstream = await dial(target, addresses, deps, signal);
  onOpen();
  client.write('HTTP/1.1 200 Connection established\r\n\r\n');
  if (head.length > 0) upstream.write(head);
  await joined(client, upstream, deps, signal);
  return { sentBytes: upstream.bytesWritten, receivedBytes: upstream.bytesRead };
}

/** Throws Refusal. */
export function dial(
  target: Target,
  addresses: Parameters<typeof fixedLookup>[0],
  { clock, limits: { dialMs } }: TunnelDeps,
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: target.host, port: target.port, lookup: fixedLookup(addresses), allowHalfOpen: true, noDelay: true });
    const fail = (cause: unknown): void => {
      settled.abort();
      signal.removeEventListener('abort', abort);
      socket.destroy();
      reject(Refusal.badUpstream('upstream_unreachable', `${target.host}:${target.port} could not be reached`, { cause }));
    };
    const abort = (): void => fail(signal.reason);
    const settled = new AbortController();
    clock.sleep(dialMs, settled.signal).then(
      () => fail(new Error(`no connection within ${dialMs} ms`)),
      () => {}, // it came about, or failed, before
    );
    socket.once('error', fail);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    socket.once('connect', () => {
      settled.abort();
      socket.removeListener('error', fail);
      signal.removeEventListener('abort', abort);
      resolve(socket);
    });
  });
}

/** Each side's end is passed on; each side's failure, silence on both, and the signal cut both. */
function joined(client: Duplex, upstream: Socket, { clock, limits: { egressIdleMs } }: TunnelDeps, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let open = 2;
    const cut = (cause: unknown): void => {
      client.destroy();
      upstream.destroy();
      reject(cause);
    };
    const abort = (): void => cut(signal.reason);
    const closed = (): void => {
      open -= 1;
      if (open > 0) return;
      signal.removeEventListener('abort', abort);
      resolve();
    };
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('error', cut);
      from.once('close', () => {
        if (!to.writableEnded) to.end(); // one that was cut ends the other too
        closed();
      });
      from.pipe(to); // waits for the slower side, and passes the end on
    }
    // Of the upstream's socket alone: bytes of both directions pass it.
    watchIdle(upstream, egressIdleMs, clock, () => cut(new Error(`nothing passed for ${egressIdleMs} ms`)));
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
  });
}
