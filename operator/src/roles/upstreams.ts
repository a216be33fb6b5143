import type { AgentGroup, Session } from '@dovecote/crds';
import type { UpstreamLookup } from '../proxy/start.ts';

const PUBLIC_API = 'https://api.anthropic.com';

/** Which model API a session's requests go to, and with which key: its AgentGroup says, the Secret has it. */
export function upstreams(deps: {
  readonly sessions: { get(name: string): Session | undefined };
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
  readonly secrets: (name: string) => Promise<Readonly<Record<string, string>> | undefined>;
}): (session: string) => Promise<UpstreamLookup> {
  return async (name) => {
    const session = deps.sessions.get(name);
    const agentGroup = session === undefined ? undefined : deps.agentGroups.get(session.spec.agentGroupRef);
    // An AgentGroup made anew under the same name does not inherit the session, nor the session its credential.
    if (session === undefined || agentGroup === undefined || agentGroup.metadata.uid !== session.spec.agentGroupUid)
      return missing(`there is no AgentGroup for session ${name}`);
    const provider = agentGroup.spec.provider.anthropic;
    if (agentGroup.spec.provider.type !== 'anthropic' || provider === undefined)
      return missing(`AgentGroup ${agentGroup.metadata.name} has no provider that the proxy serves`);
    const { name: secret, key } = provider.credentialsRef;
    const apiKey = (await deps.secrets(secret))?.[key];
    if (apiKey === undefined || apiKey === '')
      return missing(`Secret ${secret} has no key ${key}, which AgentGroup ${agentGroup.metadata.name} names`);
    return { found: true, upstream: { baseURL: provider.baseURL ?? PUBLIC_API, apiKey: apiKey.trim() } };
  };
}

const missing = (sentence: string): UpstreamLookup => ({ found: false, sentence });
