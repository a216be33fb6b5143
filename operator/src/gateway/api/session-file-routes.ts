/**
 * The files of a session over HTTP, for people and their scripts: awake or asleep, nobody wakes. Reading them needs the verb `get` on the
 * session, changing them `patch`. Errors are `{message}` with a sentence for people.
 */
import { Readable } from 'node:stream';
import { containerService as proto, SESSION_HEADER, SESSION_MISSING_HEADER } from '@dovecote/proto';
import type { Metadata, ServiceError } from '@grpc/grpc-js';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { toError } from '../../lib/errors.ts';
import { isServiceError, StatusError, status, unary } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import type { Authorizer } from './authorize.ts';

type Client = proto.ContainerServiceClient;

export interface SessionFilesDeps {
  readonly authorizer: Authorizer;
  /** every shard that holds sessions, by name */
  readonly clients: () => ReadonlyMap<string, Client>;
  readonly metadata: () => Promise<Metadata>;
  readonly log: Log;
}

/** A file or folder as the API shows it. */
export interface FileEntry {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'link' | 'other';
  readonly sizeBytes: number;
  /** permission bits, octal: "644" */
  readonly mode: string;
  readonly modifiedAt: string;
  /** changes when the content may have; `If-Match` of a PUT */
  readonly etag: string;
}

interface Query {
  readonly path?: string;
  readonly after?: string;
  readonly limit?: string;
  readonly recursive?: string;
}
type Request = FastifyRequest<{ Params: { session: string }; Querystring: Query }>;

const DEADLINE_MS = 30_000;
const FILES = '/api/sessions/:session/files';
const HTTP: Readonly<Partial<Record<status, number>>> = {
  [status.NOT_FOUND]: 404,
  [status.PERMISSION_DENIED]: 403,
  [status.INVALID_ARGUMENT]: 400,
  [status.ABORTED]: 412,
  [status.RESOURCE_EXHAUSTED]: 413,
  [status.FAILED_PRECONDITION]: 409,
  [status.UNAVAILABLE]: 503,
  [status.DEADLINE_EXCEEDED]: 504,
};

export function sessionFileRoutes(deps: SessionFilesDeps): (app: FastifyInstance) => Promise<void> {
  return async (app) => {
    app.setErrorHandler(async (error, request, reply) => answerError(error, request, reply, deps.log));
    // The body is the file: passed on as it comes, whatever it calls itself.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    app.addHook('onRequest', async (request, reply) => {
      const verb = request.method === 'GET' || request.method === 'HEAD' ? 'get' : 'patch';
      const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
      const { session } = (request as Request).params;
      const answer = await deps.authorizer.authorize(token, { verb, resource: 'sessions', name: session });
      if (!answer.allowed) return reply.code(answer.status).send({ message: answer.sentence });
      const { path } = (request as Request).query;
      if (verb === 'patch')
        deps.log.info({ user: answer.user, session, method: request.method, path }, 'a person changes a file of a session');
    });

    app.get(FILES, async (request: Request, reply) => {
      const { client, metadata } = await shardOf(deps, request.params.session);
      const path = pathOf(request);
      const { info } = await unary(client, client.stat, { path }, { metadata, deadlineMs: DEADLINE_MS });
      if (info?.type !== proto.FileInfo_Type.FILE)
        throw new StatusError(status.INVALID_ARGUMENT, `${path} is not a file: folders are listed at …/files/list`);
      const stream = client.readRaw({ path, offset: 0, length: 0 }, metadata);
      reply.raw.once('close', () => stream.cancel());
      return reply
        .header('etag', `"${info.etag}"`)
        .header('cache-control', 'no-store')
        .header('x-content-type-options', 'nosniff')
        .header('content-security-policy', 'sandbox') // an agent wrote it: it must not act in the name of this site
        .header('content-disposition', `attachment; filename*=UTF-8''${encodeURIComponent(path.split('/').at(-1) ?? '')}`)
        .type('application/octet-stream')
        .send(Readable.from(chunksOf(stream as AsyncIterable<proto.ReadRawResponse>), { objectMode: false }));
    });

    app.get(`${FILES}/list`, async (request: Request) => {
      const { client, metadata } = await shardOf(deps, request.params.session);
      const wanted = {
        path: request.query.path ?? '/workspace',
        limit: Number(request.query.limit ?? 0) || 0,
        after: request.query.after ?? '',
      };
      const { entries, more } = await unary(client, client.listDir, wanted, { metadata, deadlineMs: DEADLINE_MS });
      return { entries: entries.map(entryOf), more };
    });

    app.put(FILES, async (request: Request) => {
      const { client, metadata } = await shardOf(deps, request.params.session);
      const info = { path: pathOf(request), mode: 0, expectedEtag: expectedEtag(request), createParents: true };
      return entryOf(await upload(client, metadata, info, request.body as Readable | undefined));
    });

    app.delete(FILES, async (request: Request) => {
      const { client, metadata } = await shardOf(deps, request.params.session);
      const wanted = { path: pathOf(request), recursive: request.query.recursive === 'true' };
      await unary(client, client.deleteFile, wanted, { metadata, deadlineMs: DEADLINE_MS });
      return { deleted: wanted.path };
    });
  };
}

/** The client of the shard that has the session, and its metadata. Throws NOT_FOUND, or a shard's failure that leaves it open. */
export async function shardOf(deps: SessionFilesDeps, session: string): Promise<{ client: Client; metadata: Metadata }> {
  const metadata = await deps.metadata();
  metadata.set(SESSION_HEADER, session);
  const asked = [...deps.clients().values()].map(async (client) => {
    try {
      await unary(client, client.stat, { path: '/workspace' }, { metadata, deadlineMs: DEADLINE_MS });
      return client;
    } catch (e) {
      if (isServiceError(e) && e.metadata.get(SESSION_MISSING_HEADER).length > 0) return undefined;
      throw e;
    }
  });
  const answers = await Promise.allSettled(asked);
  let failure: unknown = new StatusError(status.NOT_FOUND, `there is no session ${session}`);
  for (const answer of answers) {
    if (answer.status === 'rejected') failure = answer.reason;
    else if (answer.value !== undefined) return { client: answer.value, metadata };
  }
  throw failure;
}

/** Nothing is written unless all of the body came. Rejects with ServiceError. */
async function upload(
  client: Client,
  metadata: Metadata,
  info: proto.WriteRawInfo,
  body: Readable | undefined,
): Promise<proto.FileInfo | undefined> {
  const answer = Promise.withResolvers<proto.FileInfo | undefined>();
  answer.promise.catch(() => {}); // told below, once the body has been let go
  let answered = false;
  const call = client.writeRaw(metadata, (error: ServiceError | null, response) => {
    answered = true;
    if (error === null) answer.resolve(response.info);
    else answer.reject(error);
  });
  call.on('error', () => {}); // the callback has it
  try {
    call.write({ part: { $case: 'info', value: info } });
    for await (const chunk of body ?? []) {
      if (answered) break; // refused: the rest is not wanted
      if (!call.write({ part: { $case: 'chunk', value: chunk as Buffer } }))
        await Promise.race([new Promise((resolve) => call.once('drain', resolve)), answer.promise]);
    }
  } catch (e) {
    call.cancel();
    throw answered
      ? await answer.promise.then(
          () => e,
          (refused: unknown) => refused,
        )
      : e;
  }
  call.write({ part: { $case: 'commit', value: true } });
  call.end();
  return answer.promise;
}

async function* chunksOf(stream: AsyncIterable<proto.ReadRawResponse>): AsyncGenerator<Uint8Array> {
  for await (const { chunk } of stream) yield chunk;
}

function pathOf({ query }: Request): string {
  if (query.path === undefined || query.path === '')
    throw new StatusError(status.INVALID_ARGUMENT, 'path is needed, such as ?path=/workspace/notes.txt');
  return query.path;
}

function expectedEtag({ headers }: Request): string {
  if (headers['if-none-match'] === '*') return '-';
  return headers['if-match']?.replaceAll('"', '') ?? '';
}

const TYPES: Readonly<Record<number, FileEntry['type']>> = {
  [proto.FileInfo_Type.FILE]: 'file',
  [proto.FileInfo_Type.DIRECTORY]: 'directory',
  [proto.FileInfo_Type.SYMLINK]: 'link',
};

function entryOf(info: proto.FileInfo | undefined): FileEntry {
  if (info === undefined) throw new Error('cannot show the file: delivery said nothing of it');
  return {
    path: info.path,
    type: TYPES[info.type] ?? 'other',
    sizeBytes: info.sizeBytes,
    mode: info.mode.toString(8),
    modifiedAt: new Date(info.modifiedAtMs).toISOString(),
    etag: info.etag,
  };
}

async function answerError(thrown: unknown, request: FastifyRequest, reply: FastifyReply, log: Log): Promise<FastifyReply> {
  const error = toError(thrown);
  const grpc = isServiceError(thrown) ? thrown : undefined;
  const refused = thrown instanceof StatusError ? HTTP[thrown.code] : HTTP[grpc?.code ?? status.OK];
  const own = 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500 ? error.statusCode : undefined;
  const code = refused ?? own ?? 500;
  if (code === 500) log.error({ err: error }, 'a request for files failed');
  if (code === 503) reply.header('retry-after', '1');
  // What is left of a body that was refused is not read.
  if (!request.raw.complete) reply.header('connection', 'close');
  return reply
    .code(code)
    .send({ message: code === 500 ? 'something went wrong; the log of the gateway has it' : (grpc?.details ?? error.message) });
}
