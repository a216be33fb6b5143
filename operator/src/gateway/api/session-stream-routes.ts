/**
 * Commands and MCP servers in a session's Pod, for people and their tools: one WebSocket is one Exec or Mcp call of ContainerService.
 * Binary frames are its messages, encoded; the text frame `end` from the caller ends what it sends; a text frame `{code, message}` tells
 * why a call failed, and is the last. Needs the verb `create` on `sessions/exec`, as kubectl exec does on pods.
 */

import { containerService as proto } from '@dovecote/proto';
import websocket, { type WebSocket } from '@fastify/websocket';
import type { Client, ClientDuplexStream, Metadata, ServiceError } from '@grpc/grpc-js';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isServiceError, StatusError, status } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import { type SessionFilesDeps, shardOf } from './session-file-routes.ts';

export interface SessionStreamsDeps extends SessionFilesDeps {
  /** the gateway ends */
  readonly stop: AbortSignal;
}

type Upstream = ClientDuplexStream<Buffer, Buffer>;
const asIs = (bytes: Buffer): Buffer => bytes;
/** As much as one gRPC message may hold. */
const MAX_FRAME_BYTES = 4 * 1024 * 1024;
const END = 'end';

export function sessionStreamRoutes(deps: SessionStreamsDeps): (app: FastifyInstance) => Promise<void> {
  return async (app) => {
    await app.register(websocket, { options: { maxPayload: MAX_FRAME_BYTES } });
    // Before the upgrade: a stranger gets a plain refusal, and no socket.
    app.addHook('preValidation', async (request, reply) => {
      const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
      const answer = await deps.authorizer.authorize(token, { verb: 'create', resource: 'sessions/exec', name: sessionOf(request) });
      if (!answer.allowed) return reply.code(answer.status).send({ message: answer.sentence });
      deps.log.info(
        { user: answer.user, session: sessionOf(request), path: request.routeOptions.url },
        'a person opens a stream into a session',
      );
    });
    for (const method of ['exec', 'mcp'] as const) {
      const { path } = proto.ContainerServiceService[method];
      app.get(`/api/sessions/:session/${method}`, { websocket: true }, (socket, request) => {
        const leave = (): void => socket.close();
        deps.stop.addEventListener('abort', leave, { once: true });
        socket.on('close', () => deps.stop.removeEventListener('abort', leave));
        const open = async (): Promise<Upstream> => {
          const { client, metadata } = await shardOf(deps, sessionOf(request));
          return (client as Client).makeBidiStreamRequest(path, asIs, asIs, metadata satisfies Metadata);
        };
        void bridge(socket, open, deps.log);
      });
    }
  };
}

const sessionOf = (request: FastifyRequest): string => (request.params as { session: string }).session;

/** Until either side ends. Each waits for the other. */
async function bridge(socket: WebSocket, open: () => Promise<Upstream>, log: Log): Promise<void> {
  socket.pause(); // until there is somewhere to put what comes
  let over = false;
  socket.on('error', () => socket.terminate());
  try {
    const upstream = await open();
    socket.on('close', () => upstream.cancel());
    upstream.on('error', () => {}); // the loop below has it
    socket.on('message', (data: Buffer, binary) => {
      if (over) return;
      if (!binary) {
        if (data.toString() === END) upstream.end();
      } else if (!upstream.writableEnded && !upstream.write(data)) {
        socket.pause();
        upstream.once('drain', () => socket.resume());
      }
    });
    if (socket.readyState !== socket.OPEN) upstream.cancel();
    socket.resume();
    for await (const message of upstream as AsyncIterable<Buffer>) await send(socket, message);
  } catch (thrown) {
    if (socket.readyState !== socket.OPEN) return; // it left: there is nobody to tell
    await send(socket, JSON.stringify(refusal(thrown, log))).catch(() => {}); // nor now
  } finally {
    over = true;
    socket.resume(); // one that is not read would not see the other side close, either
    socket.close();
  }
}

function refusal(thrown: unknown, log: Log): { readonly code: string; readonly message: string } {
  if (thrown instanceof StatusError) return { code: status[thrown.code], message: thrown.message };
  if (isServiceError(thrown)) return { code: status[thrown.code], message: (thrown satisfies ServiceError).details };
  log.error({ err: thrown }, 'a stream into a session failed');
  return { code: status[status.INTERNAL], message: 'something went wrong; the log of the gateway has it' };
}

/** Resolves when it is on its way. */
function send(socket: WebSocket, data: Buffer | string): Promise<void> {
  return new Promise((resolve, reject) => socket.send(data, (error) => (error ? reject(error) : resolve())));
}
