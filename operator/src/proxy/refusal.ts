import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** On every answer that is the proxy's own: the runner tells a refusal of ours from one of the provider's by it. */
const OWN_HEADER = { 'x-dovecote-proxy': 'refused' } as const;
const PLAIN = 'text/plain; charset=utf-8';

/** Why the proxy itself does not serve a request. `sentence` goes into the Pod, and from there to people: it names Secrets, never what is in them. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  /** in the vocabulary of the provider's errors, so that its client library reads ours */
  readonly type: string;
  /** for the metric */
  readonly outcome: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    refusal: {
      readonly status: number;
      readonly type: string;
      readonly outcome: string;
      readonly headers?: Readonly<Record<string, string>>;
    },
    sentence: string,
    options?: ErrorOptions,
  ) {
    super(sentence, options);
    this.status = refusal.status;
    this.type = refusal.type;
    this.outcome = refusal.outcome;
    this.headers = refusal.headers ?? {};
  }

  /** The request as such is wrong, or asks for what is not served. */
  static notServed(sentence: string): Refusal {
    return new Refusal({ status: 404, type: 'not_found_error', outcome: 'not_served' }, sentence);
  }
  /** Whoever sets up the agent can mend it. */
  static notAllowed(outcome: string, sentence: string): Refusal {
    return new Refusal({ status: 403, type: 'permission_error', outcome }, sentence);
  }
  /** It passes by itself. */
  static unavailable(outcome: string, sentence: string, options?: ErrorOptions): Refusal {
    return new Refusal({ status: 503, type: 'api_error', outcome, headers: { 'retry-after': '5' } }, sentence, options);
  }
  /** What stands behind the proxy does not answer as it should. */
  static badUpstream(outcome: string, sentence: string, options?: ErrorOptions): Refusal {
    return new Refusal({ status: 502, type: 'api_error', outcome }, sentence, options);
  }
}

/** In the form of the provider's errors, or, `through` the proxy, as one sentence, which tools print. An answer that is half out can only be cut: that tells the client that it is not whole. */
export function answerRefusal(response: ServerResponse, refusal: Refusal, through: boolean): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = through
    ? `${refusal.message}\n`
    : JSON.stringify({ type: 'error', error: { type: refusal.type, message: refusal.message } });
  const type = through ? PLAIN : 'application/json';
  response.writeHead(refusal.status, { 'content-type': type, ...OWN_HEADER, ...refusal.headers });
  response.end(body);
}

/** The same on the bare connection of a CONNECT. */
export function answerRefusalRaw(socket: Duplex, refusal: Refusal): void {
  const body = `${refusal.message}\n`;
  const headers = {
    'content-type': PLAIN,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
    ...OWN_HEADER,
    ...refusal.headers,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  socket.end(`HTTP/1.1 ${refusal.status} Refused\r\n${lines.join('\r\n')}\r\n\r\n${body}`);
}
