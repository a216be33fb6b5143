/**
 * Hop 1 of a message: a platform calls POST /channels/<name>. The raw bytes are checked by the channel, the events made durable,
 * and only then the platform hears 200. Whatever fails in between is a 503, which every platform answers by sending again.
 */
import type { Channel } from '@dovecote/crds';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../lib/clock.ts';
import type { Reached } from '../../lib/crash-point.ts';
import { abandonAfter, DeadlineError } from '../../lib/deadline.ts';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { TokenBucket } from '../../lib/token-bucket.ts';
import type { ConnectedChannel } from '../channels/channel.ts';
import type { Intake } from '../intake/intake.ts';
import type { GatewayMetrics } from '../metrics.ts';

export interface WebhookLimits {
  readonly bodyBytes: number;
  /** Calls to one Channel from one address. */
  readonly rate: { readonly perSecond: number; readonly burst: number };
}

export const WEBHOOK_LIMITS: WebhookLimits = { bodyBytes: 1024 * 1024, rate: { perSecond: 500, burst: 3_000 } };

/** A Channel as a webhook finds it. */
export interface WebhookTarget {
  readonly channel: Channel;
  /** undefined: it has not connected yet. */
  readonly connected: ConnectedChannel | undefined;
}

export interface WebhookDeps {
  /** undefined: there is no Channel of that name. */
  readonly find: (name: string) => WebhookTarget | undefined;
  /** False: this process knows too little to say that a Channel does not exist. */
  readonly synced: () => boolean;
  readonly intake: Intake;
  readonly limits: WebhookLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: GatewayMetrics;
  readonly reached: Reached;
}

type Answer = { readonly status: number; readonly outcome: string; readonly sentence: string; readonly retryAfterS?: number };

const METHODS = ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

export function webhookRoutes(app: FastifyInstance, deps: WebhookDeps): void {
  const buckets = new LRUCache<string, TokenBucket>({ max: 10_000 });

  app.register(async (scope) => {
    // The signature is over the bytes: nothing may parse them before us.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: deps.limits.bodyBytes }, (_request, body, done) => done(null, body));
    scope.setErrorHandler((error, request, reply) => answer(reply, nameOf(request), ofFastify(error, deps)));

    scope.addHook('onRequest', async (request, reply) => {
      const name = nameOf(request);
      // Before the body is read, and before the name is looked up: a flood costs as little as it can.
      const key = `${name}\0${request.ip}`;
      const bucket = buckets.get(key) ?? new TokenBucket(deps.limits.rate, deps.clock.now());
      buckets.set(key, bucket);
      const now = deps.clock.now();
      if (!bucket.tryTake(now)) {
        const retryAfterS = Math.ceil(bucket.waitMs(now) / 1000);
        return answer(reply, name, { status: 429, outcome: 'rate-limited', sentence: 'too many calls from this address', retryAfterS });
      }
    });

    scope.route({
      method: METHODS,
      url: '/channels/:name',
      handler: (request, reply) => {
        reply.header('allow', 'POST');
        return answer(reply, nameOf(request), {
          status: 405,
          outcome: 'wrong-method',
          sentence: `a webhook is called with POST, not ${request.method}`,
        });
      },
    });

    scope.post('/channels/:name', async (request, reply) => {
      const startedAt = deps.clock.now();
      const name = nameOf(request);
      const target = deps.find(name);
      if (target === undefined && deps.synced()) {
        return answer(reply, '', { status: 404, outcome: 'unknown-channel', sentence: 'there is no Channel of this name' });
      }
      if (target?.connected === undefined) {
        return answer(reply, name, {
          status: 503,
          outcome: 'not-connected',
          sentence: 'this Channel has not connected yet; send it again',
          retryAfterS: 5,
        });
      }
      const { connected, channel } = target;
      if (connected.webhook === undefined) {
        return answer(reply, name, {
          status: 404,
          outcome: 'no-webhook',
          sentence: 'this Channel is not reached by a webhook (see its spec: mode)',
        });
      }
      const verdict = await connected.webhook({ rawBody: bodyOf(request), header: (header) => headerOf(request, header) });
      switch (verdict.type) {
        case 'forged':
          return answer(reply, name, { status: 401, outcome: 'forged', sentence: verdict.message });
        case 'malformed':
          return answer(reply, name, { status: 400, outcome: 'malformed', sentence: verdict.message });
        case 'answer':
          deps.metrics.webhooks.inc({ channel: name, outcome: 'handshake' });
          return reply.code(200).type(verdict.contentType).send(verdict.body);
        case 'events':
          break;
      }
      if (verdict.events.length > 0) {
        const spent = deps.clock.now() - startedAt;
        const budget = Math.max(1, connected.info.ackBudgetMs - spent);
        // When the budget is spent the work goes on: the platform's next try finds it done.
        await abandonAfter({ ms: budget, what: 'store the event', clock: deps.clock, signal: undefined }, () =>
          deps.intake.receive(channel, verdict.events),
        );
      }
      deps.reached('gateway/after-enqueue-before-ack');
      deps.metrics.webhooks.inc({ channel: name, outcome: verdict.events.length > 0 ? 'stored' : 'ignored' });
      deps.metrics.acknowledgeSeconds.observe({ channel: name }, (deps.clock.now() - startedAt) / 1000);
      return reply.code(200).send();
    });
  });

  function answer(reply: FastifyReply, channel: string, { status, outcome, sentence, retryAfterS }: Answer): FastifyReply {
    // Names that nobody made must not become label values: there are too many of them.
    deps.metrics.webhooks.inc({ channel: deps.find(channel) === undefined ? '' : channel, outcome });
    if (retryAfterS !== undefined) reply.header('retry-after', String(retryAfterS));
    return reply
      .code(status)
      .type('application/json; charset=utf-8')
      .send(JSON.stringify({ error: sentence }));
  }
}

function ofFastify(error: unknown, deps: WebhookDeps): Answer {
  const { message, ...rest } = toError(error);
  const code = 'code' in rest ? String(rest.code) : '';
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return { status: 413, outcome: 'too-large', sentence: `the body is larger than the limit of ${deps.limits.bodyBytes} bytes` };
  }
  if (code.startsWith('FST_ERR_CTP') || code.startsWith('FST_ERR_BAD')) return { status: 400, outcome: 'malformed', sentence: message };
  if (error instanceof DeadlineError)
    return { status: 503, outcome: 'too-slow', sentence: 'not stored in time; send it again', retryAfterS: 1 };
  // Intake has logged the event with its id.
  return { status: 503, outcome: 'not-stored', sentence: 'not stored; send it again', retryAfterS: 1 };
}

function nameOf(request: FastifyRequest): string {
  const { params } = request;
  return typeof params === 'object' && params !== null && 'name' in params ? String(params.name) : '';
}

function bodyOf(request: FastifyRequest): Buffer {
  return Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}
