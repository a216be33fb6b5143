import { createHmac, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Audience, Caller, TokenReviewer, TokenSource } from '../lib/identity.ts';

interface Claims {
  readonly caller: Caller;
  readonly audience: Audience;
}

/** The tokens of local mode: signed with a key that lives as long as the process, so an old one opens nothing. */
export class LocalTokens implements TokenReviewer {
  readonly #key: Buffer;
  /** What was found to be right stays right as long as the process: each call shows the same few tokens again. */
  readonly #reviewed = new LRUCache<string, Claims>({ max: 1_000 });

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
    const issued = new Map<Audience, string>();
    return {
      token: async (audience) => {
        const token = issued.get(audience) ?? this.issue({ type: 'role', role }, audience);
        issued.set(audience, token);
        return token;
      },
    };
  }

  async review(token: string, audience: Audience): Promise<Caller | undefined> {
    const claims = this.#reviewed.get(token) ?? this.#read(token);
    return claims?.audience === audience ? claims.caller : undefined;
  }

  #read(token: string): Claims | undefined {
    const [body = '', signature = ''] = token.split('.');
    const given = Buffer.from(signature, 'base64url');
    const right = this.#sign(body);
    if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Claims;
    this.#reviewed.set(token, claims);
    return claims;
  }

  #sign(body: string): Buffer {
    return createHmac('sha256', this.#key).update(body).digest();
  }
}
