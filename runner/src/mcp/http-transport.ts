/** A server behind the proxy, by streamable HTTP: the proxy knows its address and credentials, this process only its name. */
import { readFile } from 'node:fs/promises';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { patientFetch } from '../http/patient-fetch.ts';
import type { Clock } from '../lifecycle/clock.ts';
import { boundedBody } from './bounded-body.ts';
import { FloodGauge } from './flood-gauge.ts';

export interface HttpOptions {
  readonly url: string;
  /** file with the Pod's token for the proxy, read at each request: kubelet exchanges it */
  readonly tokenFile: string;
  readonly clock: Clock;
  /** A request is broken off when nothing comes back for so long, ms: longer than anybody waits. */
  readonly silenceMs: number;
  /** The server sends what cannot be read: the connection is of no more use. */
  readonly onFlood: (clause: string) => void;
}

/** Streams that break are taken up again where the server allows it; what lasts longer is the supervisor's. */
const RECONNECT = { initialReconnectionDelay: 1_000, maxReconnectionDelay: 30_000, reconnectionDelayGrowFactor: 2, maxRetries: 5 };

export function httpTransport({ url, tokenFile, clock, silenceMs, onFlood }: HttpOptions): StreamableHTTPClientTransport {
  const gauge = new FloodGauge(clock);
  const send = patientFetch(silenceMs);
  const authorized: FetchLike = async (target, init) => {
    const headers = new Headers(init?.headers);
    headers.set('authorization', `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}`);
    return boundedBody(await send(target, { ...init, headers }), gauge, onFlood);
  };
  return new StreamableHTTPClientTransport(new URL(url), { fetch: authorized, reconnectionOptions: RECONNECT });
}
