/** Codes of errors after which not one byte of a request has left: no name, no route, nobody listens. */
const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Whether a failed HTTP request surely did nothing. A connection to several addresses fails with an error for each. */
export function neverSent(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.every(neverSent);
  if ('code' in error && typeof error.code === 'string' && NEVER_SENT.has(error.code)) return true;
  return error.cause !== undefined && neverSent(error.cause);
}
