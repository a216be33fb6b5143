/** What agents used, over HTTP: whoever may list sessions may see what they cost. */
import type { usage } from '@dovecote/proto';
import type { Metadata } from '@grpc/grpc-js';
import type { FastifyInstance } from 'fastify';
import { toError } from '../../lib/errors.ts';
import { fromGrpc, unary } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import type { Authorizer } from './authorize.ts';

export interface UsageRoutesDeps {
  readonly authorizer: Authorizer;
  /** every shard that holds sessions, by name */
  readonly clients: () => ReadonlyMap<string, usage.UsageClient>;
  readonly metadata: () => Promise<Metadata>;
  readonly log: Log;
}

const DEADLINE_MS = 10_000;

/** `GET /api/usage?agent=NAME&from=MS&to=MS`: `{agents}`, by agent, session and model. Without `from`: of the present period. */
export function usageRoutes({ authorizer, clients, metadata, log }: UsageRoutesDeps): (app: FastifyInstance) => Promise<void> {
  return async (app) => {
    app.get<{ Querystring: { agent?: string; from?: string; to?: string } }>('/api/usage', async ({ headers, query }, reply) => {
      const token = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];
      const allowed = await authorizer.authorize(token, { verb: 'list', resource: 'sessions' });
      if (!allowed.allowed) return reply.code(allowed.status).send({ message: allowed.sentence });
      const [fromMs, toMs] = [query.from, query.to].map((ms) => Number(ms ?? 0));
      if (!Number.isSafeInteger(fromMs) || !Number.isSafeInteger(toMs))
        return reply.code(400).send({ message: 'from and to are milliseconds since 1970' });
      const wanted = { agentGroup: query.agent ?? '', fromMs: Number(fromMs), toMs: Number(toMs) };
      const own = await metadata();
      try {
        // Each agent is on its home shard alone. One that does not answer fails the request: a sum with a hole would look whole.
        const lists = await Promise.all(
          [...clients().values()].map((client) => unary(client, client.listUsage, wanted, { metadata: own, deadlineMs: DEADLINE_MS })),
        );
        return { agents: lists.flatMap(({ agents }) => agents) };
      } catch (e) {
        log.warn({ err: toError(fromGrpc('list usage', e)) }, 'usage could not be listed');
        return reply.code(503).header('retry-after', '1').send({ message: 'a shard does not answer; try again' });
      }
    });
  };
}
