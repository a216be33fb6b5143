import { createHash, timingSafeEqual } from 'node:crypto';
import { CALLER_HEADER } from '@dovecote/proto';
import { type Metadata, ServerInterceptingCall, type ServerInterceptor, status } from '@grpc/grpc-js';

/** Who may call: the delivery whose stream gave us the secret. Another stream's secret replaces it. */
export class CallerGate {
  #expected: Buffer | undefined;

  expect(secret: string): void {
    // An empty secret would let in who shows none.
    this.#expected = secret === '' ? undefined : digest(secret);
  }

  lets(metadata: Metadata): boolean {
    const shown = metadata.get(CALLER_HEADER);
    return this.#expected !== undefined && shown.length === 1 && timingSafeEqual(digest(String(shown[0])), this.#expected);
  }

  /** Refuses every call of a stranger before its handler sees anything of it. */
  readonly interceptor: ServerInterceptor = (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, proceed) => {
            if (this.lets(metadata)) {
              metadata.remove(CALLER_HEADER); // no handler sees it, so none can log it
              proceed(metadata);
            } else call.sendStatus({ code: status.UNAUTHENTICATED, details: 'the caller is not the delivery this session is attached to' });
          },
        }),
    });
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
