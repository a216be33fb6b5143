import { createHmac, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';
import type { Audience, Caller, TokenReviewer, TokenSource } from '../lib/identity.ts';

interface Claims {
  readonly caller: Caller;
  readonly audience: Audience;
  /** when it ends, ms since 1970 */
  readonly expiresAt: number;
}

/** As those of a cluster: the kubelet writes a Pod's anew long before. */
const LIFE_MS = 3_600_000;

/** The tokens of local mode: for an hour, and signed with a key that lives as long as the process, so an old one opens nothing. */
export class LocalTokens implements TokenReviewer {
  readonly #key: Buffer;
  readonly #clock: Pick<Clock, 'now'>;
  /** A signature that was found to be right stays right: each call shows the same few tokens again. */
  readonly #reviewed = new LRUCache<string, Claims>({ max: 1_000 });

  /** `key`: 32 random bytes */
  constructor(key: Buffer, clock: Pick<Clock, 'now'>) {
    this.#key = key;
    this.#clock = clock;
  }

  issue(caller: Caller, audience: Audience): string {
    const claims: Claims = { caller, audience, expiresAt: this.#clock.now() + LIFE_MS };
    const body = Buffer.from(JSON.stringify(claims)).toString('base64url');
    return `${body}.${this.#sign(body).toString('base64url')}`;
  }

  /** The token source of one role. */
  sourceFor(role: Extract<Caller, { type: 'role' }>['role']): TokenSource {
    const issued = new Map<Audience, { readonly token: string; readonly renewAt: number }>();
    return {
      token: async (audience) => {
        const known = issued.get(audience);
        if (known !== undefined && known.renewAt > this.#clock.now()) return known.token;
        const token = this.issue({ type: 'role', role }, audience);
        issued.set(audience, { token, renewAt: this.#clock.now() + LIFE_MS / 2 });
        return token;
      },
    };
  }

  async review(token: string, audience: Audience): Promise<Caller | undefined> {
    const claims = this.#reviewed.get(token) ?? this.#read(token);
    if (claims?.audience !== audience || claims.expiresAt <= this.#clock.now()) return undefined;
    const { caller, expiresAt } = claims;
    return caller.type === 'session' ? { ...caller, expiresAt } : caller;
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
