import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Audience, Caller, TokenReviewer, TokenSource } from '../lib/identity.ts';

/** The tokens of local mode: signed with a key that lives as long as the process, so an old one opens nothing. */
export class LocalTokens implements TokenReviewer {
  readonly #key: Buffer;

  /** `key`: 32 random bytes */
  constructor(key: Buffer) {
    this.#key = key;
  }

  issue(caller: Caller, audience: Audience): string {
    const body = Buffer.from(JSON.stringify({ caller, audience })).toString('base64url');
    return `${body}.${this.#sign(body).toString('base64url')}`;
  }

  /** The token source of one role. */
  sourceFor(role: Extract<Caller, { type: 'role' }>['role']): TokenSource {
    return { token: async (audience) => this.issue({ type: 'role', role }, audience) };
  }

  async review(token: string, audience: Audience): Promise<Caller | undefined> {
    const [body = '', signature = ''] = token.split('.');
    const given = Buffer.from(signature, 'base64url');
    const right = this.#sign(body);
    if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as { caller: Caller; audience: Audience };
    return claims.audience === audience ? claims.caller : undefined;
  }

  #sign(body: string): Buffer {
    return createHmac('sha256', this.#key).update(body).digest();
  }
}
