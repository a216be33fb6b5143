/** Whose request it is: the Pod's projected token names the session, the session its agent. */

import type { IncomingHttpHeaders } from 'node:http';
import type { AgentGroup, Session } from '@dovecote/crds';
import type { TokenReviewer } from '../lib/identity.ts';
import { Refusal } from './refusal.ts';

export interface SessionCaller {
  readonly session: string;
  readonly agentGroup: AgentGroup;
  /** when its token ends, ms since 1970 */
  readonly expiresAt: number | undefined;
}

export interface AuthenticationDeps {
  readonly reviewer: TokenReviewer;
  readonly sessions: { get(name: string): Session | undefined };
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
}

/** Longer than any token of a cluster: nothing is hashed or reviewed beyond it. */
const MAX_TOKEN = 8_192;

/** `through`: it asks for a host behind the proxy. Throws Refusal: 401, or then 407, for a token that is none of an awake session, 403 when its agent is gone, 503 when nobody can be asked. */
export async function authenticate(token: string | undefined, deps: AuthenticationDeps, through: boolean): Promise<SessionCaller> {
  if (token === undefined || token === '' || token.length > MAX_TOKEN) throw unauthenticated(through);
  const caller = await review(token, deps.reviewer);
  if (caller?.type !== 'session') throw unauthenticated(through);
  const session = deps.sessions.get(caller.session);
  // The name of the Pod alone is not enough: the service account under which it runs must be that of the session's agent.
  if (session !== undefined && caller.agentGroup !== undefined && caller.agentGroup !== session.spec.agentGroupRef)
    throw unauthenticated(through);
  const agentGroup = session === undefined ? undefined : deps.agentGroups.get(session.spec.agentGroupRef);
  // An AgentGroup made anew under the same name does not inherit the session, nor the session its credentials.
  if (session === undefined || agentGroup === undefined || agentGroup.metadata.uid !== session.spec.agentGroupUid)
    throw Refusal.notAllowed('no_agent', `there is no AgentGroup for session ${caller.session}`);
  return { session: caller.session, agentGroup, expiresAt: caller.expiresAt };
}

async function review(token: string, reviewer: TokenReviewer) {
  try {
    return await reviewer.review(token, 'dovecote-proxy');
  } catch (e) {
    throw Refusal.unavailable('unreviewed', 'the token cannot be reviewed at the moment', { cause: e });
  }
}

function unauthenticated(through: boolean): Refusal {
  const headers = through ? { 'proxy-authenticate': 'Basic realm="dovecote"' } : {};
  return new Refusal(
    { status: through ? 407 : 401, type: 'authentication_error', outcome: 'unauthenticated', headers },
    'the token is not one of an awake session',
  );
}

/** Of a request to the proxy itself: as a bearer, or as the provider's client libraries send a key. */
export function tokenOf(headers: IncomingHttpHeaders): string | undefined {
  const bearer = /^Bearer (\S+)$/.exec(headers.authorization ?? '')?.[1];
  const key = headers['x-api-key'];
  return bearer ?? (typeof key === 'string' ? key : undefined);
}

/** Of a request through the proxy: the password of the user `session`, because tools know nothing but HTTPS_PROXY=http://session:…@host. */
export function proxyTokenOf(headers: IncomingHttpHeaders): string | undefined {
  const basic = /^Basic ([A-Za-z0-9+/=]+)$/.exec(headers['proxy-authorization'] ?? '')?.[1];
  if (basic === undefined) return undefined;
  const [, password] = /^session:(\S+)$/.exec(Buffer.from(basic, 'base64').toString('latin1')) ?? [];
  return password;
}
