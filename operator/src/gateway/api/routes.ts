/**
 * The HTTP API of the web chat, the console and the command line. It keeps nothing: messages go in by the same door as a
 * platform's, and everything shown is read from the shards. Errors are `{message}` with a sentence for people.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { byteCount, type Channel } from '@dovecote/crds';
import type { sessions } from '@dovecote/proto';
import type { Metadata } from '@grpc/grpc-js';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { TerminalError, WaitingError } from '../../lib/errors.ts';
import { fromGrpc, unary } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import type { Authorizer, Wanted } from './authorize.ts';
import { streamChat } from './chat-stream.ts';
import { type FileDeps, FileOfMessage, fileRoutes } from './file-routes.ts';

/** One message of the web chat as the page sends it. `id` is the page's own and makes sending again harmless. */
export interface ChatMessageInput {
  readonly channel: string;
  readonly chat: string;
  readonly id: string;
  /** empty: files alone */
  readonly text: string;
  readonly user: string;
  readonly files: readonly FileOfMessage[];
}

/** A press on a button of a question that the page shows. */
export interface ChatAnswerInput {
  readonly channel: string;
  readonly chat: string;
  readonly id: string;
  readonly session: string;
  /** of the question */
  readonly seq: number;
  readonly option: number;
  readonly user: string;
}

/** `label` and `answeredBy` are those of the answer that holds, which may be an earlier one. */
export interface AnswerReceived extends Received {
  readonly outcome: 'stored' | 'already-answered' | 'refused';
  readonly label: string;
  readonly answeredBy: string;
}

/** What became of it: `refused` has a sentence for each reason why an agent did not get it. */
export interface Received {
  readonly eventId: string;
  readonly refused: readonly string[];
}

export interface ApiDeps {
  readonly authorizer: Authorizer;
  /** every shard that holds sessions, by name */
  readonly clients: () => ReadonlyMap<string, sessions.SessionsClient>;
  readonly metadata: () => Promise<Metadata>;
  /** Throws a WaitingError when it could not be stored: the page tries again. */
  readonly receive: (message: ChatMessageInput) => Promise<Received>;
  /** As `receive`. */
  readonly answer: (answer: ChatAnswerInput) => Promise<AnswerReceived>;
  readonly stage: FileDeps['stage'];
  /** the Channels of type local, by name */
  readonly localChannels: () => readonly Channel[];
  readonly clock: Clock;
  readonly stop: AbortSignal;
  readonly log: Log;
}

const DEADLINE_MS = 10_000;
/** What may wait for a page that reads slowly. */
const MAX_BEHIND_BYTES = 4 * 1024 * 1024;
/** A proxy in between drops a stream on which nothing comes. */
const KEEPALIVE_MS = 15_000;
const id = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[A-Za-z0-9_-]+$/);
const Message = z
  .object({ id, text: z.string().max(100_000), files: z.array(FileOfMessage).max(20).default([]) })
  .refine(({ text, files }) => text !== '' || files.length > 0, { path: ['text'], error: 'is empty' });
const Answer = z.object({ id, session: z.string().min(1).max(63), seq: z.int().min(1), option: z.int().min(0).max(1_000) });
const problems = ({ issues }: z.ZodError): string => issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('; ');
/** From the source tree, or beside the bundle. */
const asset = (name: string): string =>
  readFileSync(new URL(import.meta.url.endsWith('.ts') ? `../web/${name}` : `./${name}`, import.meta.url), 'utf8');
const chatPage = asset('chat.html');
const deadLettersPage = asset('dead-letters.html');
/** What the pages load, by the name under which they do. */
const ASSETS: ReadonlyMap<string, { readonly type: string; readonly body: string }> = new Map(
  ['chat.css', 'chat.js', 'api.js', 'composer.js', 'conversation.js', 'files.js', 'markdown.js'].map((name) => [
    name,
    { type: `${name.endsWith('.css') ? 'text/css' : 'text/javascript'}; charset=utf-8`, body: asset(name) },
  ]),
);

function sendPage(reply: FastifyReply, html: string): FastifyReply {
  const nonce = randomBytes(16).toString('base64');
  return reply
    .header(
      'content-security-policy',
      `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    )
    .header('x-content-type-options', 'nosniff')
    .header('cache-control', 'no-store')
    .type('text/html; charset=utf-8')
    .send(html.replaceAll('__NONCE__', nonce));
}

export function apiRoutes(deps: ApiDeps): (app: FastifyInstance) => Promise<void> {
  /** The user, or undefined when the reply has been sent. */
  async function userOf(request: FastifyRequest, reply: FastifyReply, wanted: Wanted): Promise<string | undefined> {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const answer = await deps.authorizer.authorize(token, wanted);
    if (answer.allowed) return answer.user;
    await reply.code(answer.status).send({ message: answer.sentence });
    return undefined;
  }

  /** The same question to every shard. One that does not answer fails the request: a list with a hole would look whole. */
  async function askAll<T>(action: string, ask: (client: sessions.SessionsClient, metadata: Metadata) => Promise<T>): Promise<T[]> {
    const metadata = await deps.metadata();
    return Promise.all(
      [...deps.clients().values()].map((client) =>
        ask(client, metadata).catch((e: unknown) => {
          throw fromGrpc(action, e);
        }),
      ),
    );
  }

  const isLocal = (name: string): boolean => deps.localChannels().some(({ metadata }) => metadata.name === name);

  return async (app) => {
    app.setErrorHandler(async (error, _request, reply) => {
      if (error instanceof WaitingError) return reply.code(503).header('retry-after', '1').send({ message: error.message });
      if (error instanceof TerminalError) return reply.code(400).send({ message: error.message });
      const status = error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500;
      if (status >= 500) deps.log.error({ err: error }, 'api request failed');
      return reply
        .code(status)
        .send({ message: status >= 500 ? 'something went wrong; the log of the gateway has it' : (error as Error).message });
    });

    app.get('/favicon.ico', async (_request, reply) => reply.code(204).send());
    app.get('/', async (_request, reply) => reply.redirect('/chat/'));
    app.get('/chat/*', async (_request, reply) => {
      const [channel] = deps.localChannels();
      if (channel === undefined) return reply.code(404).send({ message: 'there is no Channel of type local: the web chat needs one' });
      const { metadata, spec } = channel;
      return sendPage(
        reply,
        chatPage.replace('__CHANNEL__', metadata.name).replace('__MAX_FILE_BYTES__', String(byteCount(spec.maxAttachmentBytes))),
      );
    });
    app.get<{ Params: { name: string } }>('/assets/:name', async (request, reply) => {
      const found = ASSETS.get(request.params.name);
      if (found === undefined) return reply.code(404).send({ message: 'there is no such file' });
      return reply.type(found.type).header('x-content-type-options', 'nosniff').header('cache-control', 'no-cache').send(found.body);
    });
    fileRoutes(app, { userOf, clients: deps.clients, metadata: deps.metadata, stage: deps.stage });

    app.get('/dead-letters', async (_request, reply) => sendPage(reply, deadLettersPage));

    app.post<{ Params: { channel: string; chat: string } }>('/api/channels/:channel/chats/:chat/messages', async (request, reply) => {
      const { channel, chat } = request.params;
      const user = await userOf(request, reply, { verb: 'chat', resource: 'channels', name: channel });
      if (user === undefined) return reply;
      if (!isLocal(channel)) return reply.code(404).send({ message: `there is no Channel ${channel} of type local` });
      const message = Message.safeParse(request.body);
      if (!message.success) return reply.code(400).send({ message: `the message cannot be read: ${problems(message.error)}` });
      return deps.receive({ channel, chat, user, ...message.data });
    });

    app.post<{ Params: { channel: string; chat: string } }>('/api/channels/:channel/chats/:chat/answers', async (request, reply) => {
      const { channel, chat } = request.params;
      const user = await userOf(request, reply, { verb: 'chat', resource: 'channels', name: channel });
      if (user === undefined) return reply;
      if (!isLocal(channel)) return reply.code(404).send({ message: `there is no Channel ${channel} of type local` });
      const answer = Answer.safeParse(request.body);
      if (!answer.success) return reply.code(400).send({ message: `the answer cannot be read: ${problems(answer.error)}` });
      return deps.answer({ channel, chat, user, ...answer.data });
    });

    app.get<{ Params: { channel: string; chat: string }; Querystring: { after?: string } }>(
      '/api/channels/:channel/chats/:chat/events',
      async (request, reply) => {
        const { channel, chat } = request.params;
        const user = await userOf(request, reply, { verb: 'chat', resource: 'channels', name: channel });
        if (user === undefined) return reply;
        const gone = new AbortController();
        reply.raw.once('close', () => gone.abort());
        reply.hijack();
        reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
        const write = (text: string): void => {
          reply.raw.write(text);
          // Waiting for it would hold up every chat on the same connection to the shard: it comes again behind its last event.
          if (reply.raw.writableLength > MAX_BEHIND_BYTES) gone.abort();
        };
        write(': open\n\n');
        const signal = AbortSignal.any([gone.signal, deps.stop]);
        try {
          await streamChat({
            clients: deps.clients(),
            metadata: deps.metadata,
            channel,
            chat,
            after: request.headers['last-event-id']?.toString() ?? request.query.after ?? '',
            signal,
            clock: deps.clock,
            keepaliveMs: KEEPALIVE_MS,
            keepalive: () => write(': still here\n\n'),
            isBehind: () => reply.raw.writableLength > 0,
            emit: ({ id, event, data }) =>
              write(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
          });
        } catch (e) {
          if (!signal.aborted) deps.log.info({ channel, reason: fromGrpc('follow the chat', e).message }, 'chat stream ended');
        } finally {
          reply.raw.end();
        }
        return reply;
      },
    );

    app.get<{ Querystring: { agent?: string; limit?: string } }>('/api/sessions', async (request, reply) => {
      if ((await userOf(request, reply, { verb: 'list', resource: 'sessions' })) === undefined) return reply;
      const wanted = { agentGroup: request.query.agent ?? '', limit: Number(request.query.limit ?? 100) };
      const lists = await askAll('list sessions', (client, metadata) =>
        unary(client, client.listSessions, wanted, { metadata, deadlineMs: DEADLINE_MS }),
      );
      return { sessions: lists.flatMap((list) => list.sessions).sort((a, b) => b.lastActivityMs - a.lastActivityMs) };
    });

    app.get<{ Params: { session: string }; Querystring: { after?: string; limit?: string } }>(
      '/api/sessions/:session/messages',
      async (request, reply) => {
        const { session } = request.params;
        if ((await userOf(request, reply, { verb: 'get', resource: 'sessions', name: session })) === undefined) return reply;
        const wanted = { session, afterCursor: request.query.after ?? '', limit: Number(request.query.limit ?? 200) };
        const lists = await askAll('list messages', (client, metadata) =>
          unary(client, client.listMessages, wanted, { metadata, deadlineMs: DEADLINE_MS }),
        );
        return { messages: lists.flatMap((list) => list.messages) };
      },
    );

    app.get<{ Querystring: { id?: string } }>('/api/why', async (request, reply) => {
      if ((await userOf(request, reply, { verb: 'list', resource: 'sessions' })) === undefined) return reply;
      const id = request.query.id ?? '';
      if (id === '') return reply.code(400).send({ message: 'id is needed: an event id, a platform message id, or <session>/<seq>' });
      const answers = await askAll('explain', (client, metadata) =>
        unary(client, client.explain, { id }, { metadata, deadlineMs: DEADLINE_MS }),
      );
      const found = answers.filter((answer) => answer.found);
      if (found.length === 0)
        return reply.code(404).send({ message: `nothing is recorded of ${id}: it never reached a gateway, or its session is gone` });
      return { found };
    });

    app.get<{ Querystring: { channel?: string; chat?: string; sender?: string } }>('/api/drops', async (request, reply) => {
      if ((await userOf(request, reply, { verb: 'list', resource: 'sessions' })) === undefined) return reply;
      const wanted = {
        channel: request.query.channel ?? '',
        chat: request.query.chat ?? '',
        sender: request.query.sender ?? '',
        limit: 200,
      };
      const lists = await askAll('list drops', (client, metadata) =>
        unary(client, client.listDrops, wanted, { metadata, deadlineMs: DEADLINE_MS }),
      );
      return { drops: lists.flatMap((list) => list.drops).sort((a, b) => b.lastMs - a.lastMs) };
    });

    app.get<{ Querystring: { session?: string } }>('/api/dead-letters', async (request, reply) => {
      if ((await userOf(request, reply, { verb: 'list', resource: 'sessions' })) === undefined) return reply;
      const wanted = { session: request.query.session ?? '', limit: 200 };
      const lists = await askAll('list dead letters', (client, metadata) =>
        unary(client, client.listDeadLetters, wanted, { metadata, deadlineMs: DEADLINE_MS }),
      );
      return { deadLetters: lists.flatMap((list) => list.deadLetters).sort((a, b) => b.deadAtMs - a.deadAtMs) };
    });

    app.post<{ Body: { id?: string } }>('/api/dead-letters/retry', async (request, reply) => {
      const id = request.body?.id ?? '';
      const user = await userOf(request, reply, { verb: 'patch', resource: 'sessions', name: id.split('/')[0] ?? '' });
      if (user === undefined) return reply;
      const answers = await askAll('retry the dead letter', (client, metadata) =>
        unary(client, client.retryDeadLetter, { id, requestedBy: user }, { metadata, deadlineMs: DEADLINE_MS }),
      );
      if (!answers.some((answer) => answer.found)) return reply.code(404).send({ message: `there is no dead letter ${id}` });
      return { retried: id };
    });
  };
}
