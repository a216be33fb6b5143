/** Tokens of a Pod that no kubelet would hand out, with the signature that the API server trusts: for a cluster whose key is ours to read. */
import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the API server signs tokens of service accounts with. undefined: this cluster keeps it to itself. */
export function tokenKey(): KeyObject | undefined {
  const path = join(process.env['CLUSTER_STATE'] ?? '', 'pki/sa.key');
  return process.env['CLUSTER_STATE'] !== undefined && existsSync(path) ? createPrivateKey(readFileSync(path)) : undefined;
}

export interface TokenClaims {
  readonly aud: readonly string[];
  /** seconds since 1970 */
  readonly exp: number;
  readonly iat: number;
  readonly nbf: number;
  readonly 'kubernetes.io': { readonly pod: { readonly name: string; readonly uid: string } };
}

/** The same token with other claims, signed anew. */
export function signedAnew(token: string, change: (claims: TokenClaims) => Partial<TokenClaims>, key: KeyObject): string {
  const [head = '', body = ''] = token.split('.');
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as TokenClaims;
  const said = `${head}.${Buffer.from(JSON.stringify({ ...claims, ...change(claims) })).toString('base64url')}`;
  return `${said}.${sign('sha256', Buffer.from(said), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}
