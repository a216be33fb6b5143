/** Files and commands of this session for callers outside, over TLS with a key of this process's own. */
import { networkInterfaces } from 'node:os';
import { containerService as proto } from '@dovecote/proto';
import { type handleUnaryCall, Server, ServerCredentials, type ServerUnaryCall, status, type UntypedHandleCall } from '@grpc/grpc-js';
import type { PathJail } from '../files/path-jail.ts';
import type { Clock } from '../lifecycle/clock.ts';
import type { Log } from '../lifecycle/log.ts';
import type { Random } from '../lifecycle/random.ts';
import { CallerGate } from './caller.ts';
import { selfSigned } from './certificate.ts';
import { type ExecCall, exec } from './exec.ts';
import { listDir, readFile, stat, writeFile } from './files.ts';
import { toStatus } from './status-error.ts';

export interface ContainerServiceDeps {
  /** host:port; port 0: any */
  readonly listen: string;
  readonly files: PathJail;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface RunningContainerService {
  /** host:port under which others reach it */
  readonly address: string;
  /** PEM, to be pinned */
  readonly certificate: string;
  readonly gate: CallerGate;
  close(): Promise<void>;
}

/** Throws when the address cannot be listened on. */
export async function startContainerService(deps: ContainerServiceDeps): Promise<RunningContainerService> {
  const { certificate, key } = selfSigned(deps.clock.now());
  const gate = new CallerGate();
  const ending = new AbortController();
  const server = new Server({ interceptors: [gate.interceptor], 'grpc.max_receive_message_length': 4 * 1024 * 1024 });
  server.addService(proto.ContainerServiceService, methods(deps, ending.signal));
  const credentials = ServerCredentials.createSsl(null, [{ private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) }]);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(deps.listen, credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(new Error(`cannot listen on ${deps.listen}: ${error.message}`, { cause: error })),
    );
  });
  return {
    address: `${reachableHost(deps.listen.slice(0, deps.listen.lastIndexOf(':')))}:${port}`,
    certificate,
    gate,
    close: async () => {
      ending.abort();
      server.forceShutdown();
    },
  };
}

function methods(deps: ContainerServiceDeps, signal: AbortSignal): Record<keyof proto.ContainerServiceServer & string, UntypedHandleCall> {
  const unary =
    <Req, Res>(work: (jail: PathJail, request: Req) => Res): handleUnaryCall<Req, Res> =>
    (call, callback) => {
      try {
        callback(null, work(deps.files, call.request));
      } catch (e) {
        callback(toStatus(e, deps.log));
      }
    };
  const later = (name: string) => ({ code: status.UNIMPLEMENTED, details: `${name} comes later` });
  const unaryLater =
    (name: string) =>
    (_call: ServerUnaryCall<unknown, unknown>, callback: (error: ReturnType<typeof later>) => void): void =>
      callback(later(name));
  return {
    readFile: unary(readFile),
    writeFile: unary(writeFile),
    listDir: unary(listDir),
    stat: unary(stat),
    exec: (call: ExecCall) => {
      exec(call, { files: deps.files, clock: deps.clock, random: deps.random, env: deps.env, signal }).catch((e: unknown) =>
        call.emit('error', toStatus(e, deps.log)),
      );
    },
    readRaw: ((call: { emit(event: string, error: unknown): void }) => call.emit('error', later('ReadRaw'))) as UntypedHandleCall,
    writeRaw: unaryLater('WriteRaw') as UntypedHandleCall,
    mkdir: unaryLater('Mkdir') as UntypedHandleCall,
    rename: unaryLater('Rename') as UntypedHandleCall,
    deleteFile: unaryLater('DeleteFile') as UntypedHandleCall,
  };
}

/** What others dial when we listen on every address: the Pod's own. */
function reachableHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '[::]' && host !== '::') return host;
  const addresses = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  const own =
    addresses.find((entry) => !entry.internal && entry.family === 'IPv4') ??
    addresses.find((entry) => !entry.internal && !entry.address.startsWith('fe80:'));
  if (own === undefined) return '127.0.0.1';
  return own.family === 'IPv6' ? `[${own.address}]` : own.address;
}
