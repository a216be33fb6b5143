/** The HTTP API on a cluster: a Kubernetes token says who, RBAC says what. `kubectl create token` makes one. */
import { createHash } from 'node:crypto';
import { AuthenticationV1Api, AuthorizationV1Api, type KubeConfig } from '@kubernetes/client-node';
import { LRUCache } from 'lru-cache';
import type { Authorization, Authorizer, Wanted } from '../gateway/api/authorize.ts';
import type { Clock } from '../lib/clock.ts';

/** A right that was taken away still holds for so long. */
const CACHE_MS = 30_000;
const GROUP = 'dovecote.dev';

export function rbacAuthorizer(config: KubeConfig, namespace: string, clock: Clock): Authorizer {
  const authentication = config.makeApiClient(AuthenticationV1Api);
  const authorization = config.makeApiClient(AuthorizationV1Api);
  const answers = new LRUCache<string, { answer: Authorization; until: number }>({ max: 10_000 });

  async function ask(token: string, { verb, resource, name }: Wanted): Promise<Authorization> {
    const [kind = resource, subresource] = resource.split('/');
    const review = await authentication.createTokenReview({
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } },
    });
    const user = review.status?.user;
    if (review.status?.authenticated !== true || user?.username === undefined) {
      return { allowed: false, status: 401, sentence: 'the token is not valid: make one with `kubectl create token <service account>`' };
    }
    const access = await authorization.createSubjectAccessReview({
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: {
          user: user.username,
          ...(user.groups && { groups: user.groups }),
          ...(user.uid && { uid: user.uid }),
          ...(user.extra && { extra: user.extra }),
          resourceAttributes: {
            namespace,
            group: GROUP,
            resource: kind,
            verb,
            ...(subresource !== undefined && { subresource }),
            ...(name !== undefined && { name }),
          },
        },
      },
    });
    if (access.status?.allowed === true) return { allowed: true, user: user.username };
    return {
      allowed: false,
      status: 403,
      sentence: `${user.username} needs the verb "${verb}" on ${resource}.${GROUP}${name === undefined ? '' : ` ${name}`} in namespace ${namespace}`,
    };
  }

  return {
    authorize: async (token, wanted) => {
      if (token === undefined)
        return {
          allowed: false,
          status: 401,
          sentence: 'a bearer token is needed: make one with `kubectl create token <service account>`',
        };
      const key = createHash('sha256')
        .update(JSON.stringify([token, wanted]))
        .digest('base64');
      const known = answers.get(key);
      if (known !== undefined && known.until > clock.now()) return known.answer;
      const answer = await ask(token, wanted);
      answers.set(key, { answer, until: clock.now() + CACHE_MS });
      return answer;
    },
  };
}
