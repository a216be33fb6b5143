/** Files of the web chat: up ahead of the message that names them, and down from the shard that keeps them. No process holds one whole. */
import { Readable } from 'node:stream';
import type { sessions } from '@dovecote/proto';
import { type Metadata, status } from '@grpc/grpc-js';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { TerminalError, WaitingError } from '../../lib/errors.ts';
import { fromGrpc, isServiceError } from '../../lib/grpc.ts';
import type { StagedFor } from '../channels/channel.ts';
import { AttachmentError } from '../inbox-client/stage-attachment.ts';
import type { Wanted } from './authorize.ts';

/** A file that the page sends before the message. */
export interface UploadInput {
  readonly channel: string;
  readonly chat: string;
  readonly user: string;
  readonly name: string;
  readonly mimeType: string;
  /** 0: not said */
  readonly sizeBytes: number;
  /** Can be read once. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

export interface FileDeps {
  /** The user, or undefined when the reply has been sent. */
  readonly userOf: (request: FastifyRequest, reply: FastifyReply, wanted: Wanted) => Promise<string | undefined>;
  readonly clients: () => ReadonlyMap<string, sessions.SessionsClient>;
  readonly metadata: () => Promise<Metadata>;
  /** Throws AttachmentError with a sentence for the person, or a WaitingError. */
  readonly stage: (upload: UploadInput) => Promise<readonly StagedFor[]>;
}

const Staged = z.array(z.object({ agentGroup: z.string().max(253), shard: z.string().max(63), stagedId: z.string().max(128) })).max(64);

/** As the page gives it back with the message. */
export const FileOfMessage = z.object({
  name: z.string().min(1).max(255),
  mimeType: z.string().max(255),
  sizeBytes: z.int().min(0),
  staged: z.string().max(16_384),
});
export type FileOfMessage = z.infer<typeof FileOfMessage>;

/** Throws TerminalError for what no upload answered. */
export function stagedOf({ staged }: FileOfMessage): readonly StagedFor[] {
  try {
    return Staged.parse(JSON.parse(Buffer.from(staged, 'base64url').toString()));
  } catch (thrown) {
    throw new TerminalError('Invalid', 'cannot take the message: files.staged is not what an upload answered', { cause: thrown });
  }
}

interface ChatParams {
  readonly channel: string;
  readonly chat: string;
}
interface FileParams extends ChatParams {
  readonly session: string;
  readonly seq: string;
  readonly attachment?: string;
}

/** What a browser may show by itself. All else is a download: a page of the agent's making must not run as one of ours. */
const SHOWN = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);

export function fileRoutes(app: FastifyInstance, deps: FileDeps): void {
  // The bytes stay a stream; the limit is the Channel's, kept while they pass.
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));

  app.put<{ Params: ChatParams; Querystring: { name?: string; type?: string }; Body: Readable }>(
    '/api/channels/:channel/chats/:chat/uploads',
    { config: { slowBody: true } },
    async (request, reply) => {
      const { channel, chat } = request.params;
      const user = await deps.userOf(request, reply, { verb: 'chat', resource: 'channels', name: channel });
      if (user === undefined) return reply;
      const name = (request.query.name ?? '').slice(0, 255);
      if (name === '' || !(request.body instanceof Readable))
        return reply.code(400).send({ message: 'a file is sent as application/octet-stream, its name in ?name=' });
      const mimeType = (request.query.type ?? '').slice(0, 255) || 'application/octet-stream';
      const sizeBytes = Number(request.headers['content-length'] ?? 0);
      try {
        const staged = await deps.stage({ channel, chat, user, name, mimeType, sizeBytes, bytes: request.body });
        if (staged.length === 0) return reply.code(409).send({ message: `"${name}" was not taken: no agent listens in this chat` });
        return { staged: Buffer.from(JSON.stringify(staged)).toString('base64url') };
      } catch (thrown) {
        if (!(thrown instanceof AttachmentError)) throw thrown;
        // What is still on its way is not read.
        return reply
          .code(thrown.refused ? 413 : 400)
          .header('connection', 'close')
          .send({ message: thrown.message });
      }
    },
  );

  app.get<{ Params: FileParams }>('/api/channels/:channel/chats/:chat/files/:session/:seq/:attachment?', async (request, reply) => {
    const { channel, chat, session, seq, attachment = '0' } = request.params;
    if ((await deps.userOf(request, reply, { verb: 'chat', resource: 'channels', name: channel })) === undefined) return reply;
    if (!/^[0-9]{1,15}$/.test(seq) || !/^[0-9]{1,3}$/.test(attachment)) return reply.code(404).send({ message: 'there is no such file' });
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    const wanted = { session, seq: Number(seq), channel, chat, attachment: Number(attachment) };
    const file = await find(deps, wanted, gone.signal);
    if (file === undefined) return reply.code(404).send({ message: 'the file is not kept here any more' });
    const { name, mimeType, sizeBytes } = file.info;
    return reply
      .header('content-type', SHOWN.has(mimeType) ? mimeType : 'application/octet-stream')
      .header('content-length', sizeBytes)
      .header('content-disposition', `attachment; filename*=UTF-8''${encodeURIComponent(name).replaceAll("'", '%27')}`)
      .header('content-security-policy', "default-src 'none'; sandbox")
      .header('x-content-type-options', 'nosniff')
      .header('cache-control', 'private, no-store')
      .send(Readable.from(file.chunks));
  });
}

interface FoundFile {
  readonly info: sessions.DownloadInfo;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Asks the shards for it: one has the session. undefined: none has the file. */
async function find(deps: FileDeps, wanted: sessions.DownloadFileRequest, signal: AbortSignal): Promise<FoundFile | undefined> {
  const metadata = await deps.metadata();
  const answers = await Promise.all([...deps.clients().values()].map((client) => begin(client, wanted, metadata, signal)));
  return answers.find((answer) => answer !== undefined);
}

async function begin(
  client: sessions.SessionsClient,
  wanted: sessions.DownloadFileRequest,
  metadata: Metadata,
  signal: AbortSignal,
): Promise<FoundFile | undefined> {
  const call = client.downloadFile(wanted, metadata);
  signal.addEventListener('abort', () => call.cancel(), { once: true });
  const parts = (call as AsyncIterable<sessions.DownloadFileResponse>)[Symbol.asyncIterator]();
  try {
    const first = await parts.next();
    const info = first.done === true || first.value.part?.$case !== 'info' ? undefined : first.value.part.value;
    if (info === undefined) throw new WaitingError('NoInfo', 'cannot read the file: its shard gave no answer', 1_000);
    return { info, chunks: chunksOf(parts) };
  } catch (thrown) {
    if (isServiceError(thrown) && thrown.code === status.NOT_FOUND) return undefined;
    throw fromGrpc('read the file', thrown);
  }
}

async function* chunksOf(parts: AsyncIterator<sessions.DownloadFileResponse>): AsyncIterable<Uint8Array> {
  for (let next = await parts.next(); next.done !== true; next = await parts.next()) {
    if (next.value.part?.$case === 'chunk') yield next.value.part.value;
  }
}
