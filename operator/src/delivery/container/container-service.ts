/**
 * Files and commands of any session of this shard, for gateways: through its Pod while a runner is attached, else from the volume, which
 * wakes nobody. Who may see which session was decided by the gateway.
 */
import {
  FILE_CALLS,
  type FileCallName,
  fileStatus,
  containerService as proto,
  SESSION_HEADER,
  SESSION_MISSING_HEADER,
  type TwoWays,
  twoWays,
} from '@dovecote/proto';
import type {
  MethodDefinition,
  ServerDuplexStream,
  ServiceDefinition,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Counter } from 'prom-client';
import { callerOf, Metadata, StatusError, status, toStatus } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import type { Cells } from '../cells/cells.ts';
import type { WakeState } from '../wake/wake.ts';
import { forward } from './forward.ts';
import type { RunnerPool } from './runner-pool.ts';
import type { RoomOf } from './storage-account.ts';
import { type Codec, fileCallOnVolume } from './volume-files.ts';

export interface ContainerServiceDeps {
  readonly cells: Cells;
  readonly pool: RunnerPool;
  readonly isAttached: (session: string) => boolean;
  readonly state: (session: string) => WakeState;
  readonly onActive: (session: string) => void;
  /** whether the volume is */
  readonly full: () => boolean;
  /** what may still be stored in it by its agent's limits */
  readonly room: RoomOf;
  readonly calls: Pick<Counter<'method' | 'where' | 'code'>, 'inc'>;
  readonly log: Log;
  /** delivery ends */
  readonly stopping: AbortSignal;
}

type Method = keyof typeof proto.ContainerServiceService;
type Call = ServerDuplexStream<Buffer, Buffer>;
type Where = 'none' | 'pod' | 'volume';
const asIs = (bytes: Buffer): Buffer => bytes;

/** Every method as two streams of undecoded messages: on the wire that is no difference, and most of them only pass through. */
export function containerService(deps: ContainerServiceDeps): { definition: ServiceDefinition; handlers: UntypedServiceImplementation } {
  const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
  const handlers: Record<string, UntypedHandleCall> = {};
  for (const name of Object.keys(proto.ContainerServiceService) as Method[]) {
    const { path } = proto.ContainerServiceService[name];
    const codecs = { requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs };
    definition[name] = { path, requestStream: true, responseStream: true, ...codecs };
    handlers[name] = (call: Call) => {
      let where: Where = 'none';
      const answered = (code: status): void => deps.calls.inc({ method: name, where, code: status[code] });
      serveOne(name, call, deps, (at) => {
        where = at;
      }).then(
        () => {
          answered(status.OK);
          call.end();
        },
        (thrown: unknown) => {
          const answer = answerFor(thrown, (err) => deps.log.error({ method: name, err }, 'call failed'));
          answered(answer.code);
          call.emit('error', answer);
        },
      );
    };
  }
  return { definition, handlers };
}

async function serveOne(name: Method, call: Call, deps: ContainerServiceDeps, at: (where: Where) => void): Promise<void> {
  const ways = twoWays(call, deps.stopping);
  const session = sessionOf(call.metadata, deps.cells);
  if (deps.isAttached(session)) {
    at('pod');
    const connection = await deps.pool.connection(session, ways.gone);
    // Whoever works in it by commands keeps it awake, as who writes to it does. Files are there also while it sleeps.
    const onMessage = name in FILE_CALLS ? (): void => {} : (): void => deps.onActive(session);
    await forward(ways, connection, { session, path: proto.ContainerServiceService[name].path, deadline: call.getDeadline(), onMessage });
  } else if (name in FILE_CALLS) {
    at('volume');
    await onVolume(name as FileCallName, session, ways, deps);
  } else throw notNow(session, deps.state(session));
}

async function onVolume(name: FileCallName, session: string, ways: TwoWays<Buffer, Buffer>, deps: ContainerServiceDeps): Promise<void> {
  const codec = proto.ContainerServiceService[name] as unknown as Codec;
  await fileCallOnVolume(name, ways, { session, cells: deps.cells, full: deps.full(), room: deps.room, codec });
}

/** Throws PERMISSION_DENIED, INVALID_ARGUMENT, NOT_FOUND. */
function sessionOf(metadata: Metadata, cells: Cells): string {
  const caller = callerOf(metadata);
  if (caller.type !== 'role' || caller.role !== 'gateway')
    throw new StatusError(status.PERMISSION_DENIED, 'only a gateway may ask for the files of a session');
  const [session, ...more] = metadata.get(SESSION_HEADER);
  if (typeof session !== 'string' || more.length > 0)
    throw new StatusError(status.INVALID_ARGUMENT, `metadata ${SESSION_HEADER} must name one session`);
  if (!cells.has(session)) throw new SessionMissingError(`session ${JSON.stringify(session.slice(0, 100))} has no cell on this shard`);
  return session;
}

class SessionMissingError extends Error {
  override readonly name = 'SessionMissingError';
}

function notNow(session: string, state: WakeState): StatusError {
  if (state === 'Waking' || state === 'Draining')
    return new StatusError(
      status.UNAVAILABLE,
      `session ${session} is ${state === 'Waking' ? 'waking up' : 'falling asleep'}: try again in a moment`,
    );
  return new StatusError(
    status.FAILED_PRECONDITION,
    `session ${session} sleeps: commands and MCP servers run only while it is awake, and a message to it wakes it. Its files can be used.`,
  );
}

function answerFor(thrown: unknown, onInternal: (error: Error) => void): { code: status; details: string; metadata?: Metadata } {
  if (thrown instanceof SessionMissingError) {
    const metadata = new Metadata();
    metadata.set(SESSION_MISSING_HEADER, 'true');
    return { code: status.NOT_FOUND, details: thrown.message, metadata };
  }
  const known = fileStatus(thrown);
  if (known !== undefined) return known;
  const { code, message } = toStatus(thrown, onInternal);
  return { code, details: message };
}
