/** Someone outside the cluster who works with sessions by the command line or the API, with the rights that RBAC gives. */
import { execute, gatewayUrl, kubectl, type Ran } from './cluster.ts';
import type { Scenario } from './cluster-scenario.ts';
import { NODE, PROGRAM } from './local-mode.ts';

const RBAC = 'rbac.authorization.k8s.io';
let count = 0;

export interface Person {
  /** server and token, as the command line takes them */
  readonly env: Readonly<Record<string, string>>;
  dovecote(args: readonly string[], input?: string): Promise<Ran>;
  /** A request of the gateway's API with this token. */
  request(path: string, init?: RequestInit): Promise<Response>;
}

/** Who may do this with sessions. */
export async function person(
  scenario: Scenario,
  rules: readonly { readonly resource: string; readonly verbs: readonly string[] }[],
): Promise<Person> {
  count += 1;
  const name = scenario.name(`person${count}`);
  const subject = { kind: 'ServiceAccount', name };
  await scenario.make(
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name } },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'Role',
      metadata: { name },
      rules: rules.map(({ resource, verbs }) => ({ apiGroups: ['dovecote.dev'], resources: [resource], verbs })),
    },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'RoleBinding',
      metadata: { name },
      roleRef: { apiGroup: RBAC, kind: 'Role', name },
      subjects: [subject],
    },
  );
  const token = (await kubectl('create', 'token', name)).trim();
  const env = { PATH: process.env['PATH'] ?? '', DOVECOTE_SERVER: await gatewayUrl(), DOVECOTE_TOKEN: token };
  return {
    env,
    dovecote: (args, input = '') => execute(NODE, [PROGRAM, ...args], input, env),
    request: (path, init = {}) =>
      fetch(`${env.DOVECOTE_SERVER}${path}`, {
        ...init,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...init.headers },
      }),
  };
}

/** Everything with files and commands. */
export const EVERYTHING_WITH_SESSIONS = [
  { resource: 'sessions', verbs: ['get', 'patch'] },
  { resource: 'sessions/exec', verbs: ['create'] },
];
