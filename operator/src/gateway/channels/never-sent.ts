/** Codes of errors after which not one byte of a request has left: no name, no route, nobody listens. */
const NEVER_SENT = new Set<unknown>([
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

/** Whether a failed HTTP request surely did nothing. A connection that was tried at several addresses fails with an error for each. */
export function neverSent(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  if ('errors' in error && Array.isArray(error.errors) && error.errors.length > 0) return error.errors.every(neverSent);
  if ('code' in error && NEVER_SENT.has(error.code)) return true;
  return 'cause' in error && neverSent(error.cause);
}
