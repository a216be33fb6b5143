/** On a cluster the API server says whose token it is. */
import { createHash } from 'node:crypto';
import { AuthenticationV1Api, type KubeConfig } from '@kubernetes/client-node';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';
import type { Audience, Caller, TokenReviewer } from '../lib/identity.ts';

/** A Pod that is gone keeps its token's answer for at most so long. */
const CACHE_MS = 60_000;
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';

/** Whom the review names. Service accounts of our roles are `<install>-<role>`, those of agents have their own prefix. */
export interface AccountNames {
  readonly namespace: string;
  readonly install: string;
  readonly agentAccountPrefix: string;
}

/** Our caller behind a reviewed user, or undefined for anyone else's. */
export function callerOfUser(
  user: { readonly username?: string; readonly extra?: Readonly<Record<string, readonly string[]>> },
  names: AccountNames,
): Caller | undefined {
  const prefix = `system:serviceaccount:${names.namespace}:`;
  if (!user.username?.startsWith(prefix)) return undefined;
  const account = user.username.slice(prefix.length);
  for (const role of ['gateway', 'delivery', 'controller', 'proxy'] as const) {
    if (account === `${names.install}-${role}`) return { type: 'role', role };
  }
  const pod = user.extra?.[POD_NAME]?.[0];
  const podUid = user.extra?.[POD_UID]?.[0];
  // Without a Pod the token was not made by a kubelet for a runner: somebody asked for it by hand.
  if (account.startsWith(names.agentAccountPrefix) && pod !== undefined && podUid !== undefined)
    return { type: 'session', session: pod, podUid, agentGroup: account.slice(names.agentAccountPrefix.length) };
  return undefined;
}

export function clusterTokenReviewer(config: KubeConfig, names: AccountNames, clock: Clock): TokenReviewer {
  const api = config.makeApiClient(AuthenticationV1Api);
  const answers = new LRUCache<string, { caller: Caller; until: number }>({ max: 10_000 });
  const pending = new Map<string, Promise<Caller | undefined>>();

  async function ask(token: string, audience: Audience): Promise<Caller | undefined> {
    const { status } = await api.createTokenReview({
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: [audience] } },
    });
    // A server that knows no audiences answers without them: such a token would open every door.
    if (status?.authenticated !== true || !status.audiences?.includes(audience)) return undefined;
    const caller = callerOfUser(status.user ?? {}, names);
    return caller?.type === 'session' ? { ...caller, expiresAt: expiryOf(token) } : caller;
  }

  return {
    review: (token, audience) => {
      const key = createHash('sha256').update(`${audience}\0${token}`).digest('base64');
      const known = answers.get(key);
      if (known !== undefined && known.until > clock.now()) return Promise.resolve(known.caller);
      const asked =
        pending.get(key) ??
        ask(token, audience).finally(() => {
          pending.delete(key);
        });
      pending.set(key, asked);
      return asked.then((caller) => {
        if (caller !== undefined) answers.set(key, { caller, until: Math.min(clock.now() + CACHE_MS, expiryOf(token)) });
        return caller;
      });
    },
  };
}

/** exp of the token itself, ms since 1970; the API server has checked it, here it bounds the cache and the streams that it opened. */
function expiryOf(token: string): number {
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp?: number };
    return (claims.exp ?? 0) * 1000;
  } catch {
    return 0; // not a JWT: asked anew each time
  }
}
