/** grpc-js with promises, signals and our authentication. Nothing else in the operator touches its call objects' wiring. */
import {
  type CallOptions,
  type Client,
  type ClientUnaryCall,
  Metadata,
  type Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { TerminalError, toError, WaitingError } from './errors.ts';
import type { Audience, Caller, TokenReviewer, TokenSource } from './identity.ts';

export { Metadata, status } from '@grpc/grpc-js';

/** Connections that died are noticed within 20 s even when idle, and channels never cache a dead address for minutes. */
export const CHANNEL_OPTIONS = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.max_receive_message_length': 8 * 1024 * 1024,
} as const;

/** What a server method throws to answer with a status. `message` reaches the caller: no secrets. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly code: status;
  constructor(code: status, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

type UnaryMethod<Req, Res> = (
  request: Req,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Res) => void,
) => ClientUnaryCall;

/** One unary call as a promise. Rejects with grpc-js's ServiceError; `fromGrpc` classifies it. */
export function unary<Req, Res>(
  client: Client,
  method: UnaryMethod<Req, Res>,
  request: Req,
  options: { readonly metadata: Metadata; readonly deadlineMs: number; readonly signal?: AbortSignal },
): Promise<Res> {
  return new Promise((resolve, reject) => {
    options.signal?.throwIfAborted();
    const call = method.call(client, request, options.metadata, { deadline: Date.now() + options.deadlineMs }, (error, response) => {
      options.signal?.removeEventListener('abort', cancel);
      if (error) reject(error);
      else resolve(response);
    });
    const cancel = (): void => call.cancel();
    options.signal?.addEventListener('abort', cancel, { once: true });
  });
}

/** The caller's own token as call metadata. */
export async function bearer(source: TokenSource, audience: Audience): Promise<Metadata> {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${await source.token(audience)}`);
  return metadata;
}

/** A handler that returns its response or throws: StatusError as it is, anything else as INTERNAL without its text. */
export function handleUnary<Req, Res>(
  handler: (request: Req, call: ServerUnaryCall<Req, Res>) => Promise<Res>,
  onInternal: (error: Error) => void,
): (call: ServerUnaryCall<Req, Res>, callback: sendUnaryData<Res>) => void {
  return (call, callback) => {
    handler(call.request, call).then(
      (response) => callback(null, response),
      (thrown: unknown) => callback(toStatus(thrown, onInternal)),
    );
  };
}

/** The same translation for streaming handlers, which report by `call.emit('error', toStatus(e, …))`. */
export function toStatus(thrown: unknown, onInternal: (error: Error) => void): { code: status; message: string } {
  if (thrown instanceof StatusError) return { code: thrown.code, message: thrown.message };
  const error = toError(thrown);
  onInternal(error);
  return { code: status.INTERNAL, message: 'internal error; the server logged it' };
}

const CALLER_KEY = 'dovecote-internal-caller';

/** Lets a call in only with a token for `audience` whose holder `allow`s; the handler asks `callerOf`. */
export function authenticate(reviewer: TokenReviewer, audience: Audience, allow: (caller: Caller) => boolean): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, proceed) => {
            metadata.remove(CALLER_KEY); // a caller must not name itself
            const token = /^Bearer (.+)$/.exec(String(metadata.get('authorization')[0] ?? ''))?.[1];
            metadata.remove('authorization'); // no handler sees it, so none can log it
            if (token === undefined) {
              call.sendStatus({ code: status.UNAUTHENTICATED, details: 'a bearer token is needed' });
              return;
            }
            reviewer.review(token, audience).then(
              (caller) => {
                if (caller === undefined)
                  call.sendStatus({ code: status.UNAUTHENTICATED, details: `the token is not valid for ${audience}` });
                else if (!allow(caller))
                  call.sendStatus({ code: status.PERMISSION_DENIED, details: 'this caller may not use this service' });
                else {
                  metadata.set(CALLER_KEY, JSON.stringify(caller));
                  proceed(metadata);
                }
              },
              () => call.sendStatus({ code: status.UNAVAILABLE, details: 'the token could not be reviewed' }),
            );
          },
        }),
    });
}

/** Who made this call. Throws UNAUTHENTICATED for a call that passed no `authenticate`. */
export function callerOf(metadata: Metadata): Caller {
  const value = metadata.get(CALLER_KEY)[0];
  if (typeof value !== 'string') throw new StatusError(status.UNAUTHENTICATED, 'the call was not authenticated');
  return JSON.parse(value) as Caller;
}

/** Starts a server and answers with the address it listens on ("host:port", the port chosen when 0 was asked for). */
export function listen(server: Server, address: string): Promise<string> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error) reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }));
      else resolve(`${address.slice(0, address.lastIndexOf(':'))}:${port}`);
    });
  });
}

/** No new calls; calls in hand get `graceMs`, then are cut. */
export function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.forceShutdown(), graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

export const isServiceError = (e: unknown): e is ServiceError =>
  e instanceof Error && 'code' in e && typeof e.code === 'number' && 'details' in e;

/** A neighbour's failure in our vocabulary, by code alone. `action` reads "enqueue event X". */
export function fromGrpc(action: string, thrown: unknown): Error {
  if (!isServiceError(thrown)) return new Error(`cannot ${action}: ${toError(thrown).message}`, { cause: thrown });
  const message = `cannot ${action}: ${thrown.details}`;
  switch (thrown.code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
    case status.RESOURCE_EXHAUSTED:
    case status.ABORTED:
    case status.CANCELLED:
      return new WaitingError(status[thrown.code], message, 1_000, { cause: thrown });
    case status.INVALID_ARGUMENT:
    case status.NOT_FOUND:
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
    case status.FAILED_PRECONDITION:
    case status.UNIMPLEMENTED:
      return new TerminalError(status[thrown.code] ?? 'Refused', message, { cause: thrown });
    default:
      return new Error(message, { cause: thrown });
  }
}
