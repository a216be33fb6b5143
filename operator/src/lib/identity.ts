/**
 * Who calls. Every connection between two of our processes shows a token that was made for exactly that purpose (its audience);
 * on a cluster these are projected service account tokens checked by TokenReview, in local mode tokens of the one process.
 */

/** What a token is good for. A token of one audience is worth nothing at another door. */
export type Audience = 'dovecote-delivery' | 'dovecote-gateway' | 'dovecote-proxy';

/** A role of the operator, or the runner in a session's Pod (which bears the session's name). */
export type Caller =
  | { readonly type: 'role'; readonly role: 'gateway' | 'delivery' | 'controller' | 'proxy' }
  | {
      readonly type: 'session';
      readonly session: string;
      readonly podUid: string;
      /** whose service account the token is of; absent where tokens do not say */
      readonly agentGroup?: string;
      /** when the token ends, ms since 1970; absent: with its process */
      readonly expiresAt?: number;
    };

export interface TokenReviewer {
  /** undefined: not valid for this audience. Throws when it cannot be asked. Answers are cached until the token ends. */
  review(token: string, audience: Audience): Promise<Caller | undefined>;
}

export interface TokenSource {
  /** This process's own token. Read afresh as the kubelet rotates it. */
  token(audience: Audience): Promise<string>;
}
