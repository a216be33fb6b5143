import type { Caller, TokenReviewer, TokenSource } from '../../lib/identity.ts';

/** Test double: tokens that say in plain words whose they are: "role:gateway", "session:<name>:<pod uid>". */
export const plainReviewer: TokenReviewer = {
  review: async (token): Promise<Caller | undefined> => {
    const [type, name = '', podUid = ''] = token.split(':');
    if (type === 'role') return { type, role: name as 'gateway' };
    return type === 'session' ? { type, session: name, podUid } : undefined;
  },
};

export const plainTokens = (token: string): TokenSource => ({ token: async () => token });
