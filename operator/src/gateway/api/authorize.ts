/** Who may use the HTTP API, and for what. On a cluster Kubernetes tokens and RBAC decide; in local mode one token opens all. */

/** In RBAC's words, in API group dovecote.dev. */
export interface Wanted {
  /** chat: write and read in a chat of this Channel. get, list: look. patch: change. create on sessions/exec: run commands in it. */
  readonly verb: 'chat' | 'get' | 'list' | 'patch' | 'create';
  readonly resource: 'channels' | 'sessions' | 'sessions/exec';
  readonly name?: string;
}

export type Authorization =
  | { readonly allowed: true; readonly user: string }
  | { readonly allowed: false; readonly status: 401 | 403; readonly sentence: string };

export interface Authorizer {
  /** Throws when it cannot be asked. */
  authorize(token: string | undefined, wanted: Wanted): Promise<Authorization>;
}
