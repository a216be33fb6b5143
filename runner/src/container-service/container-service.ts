/** Files and commands of this session for callers outside, over TLS with a key of this process's own. */
import {
  FILE_CALLS,
  type FileCallName,
  type FileMethod,
  health,
  type McpServerConfig,
  type PathJail,
  containerService as proto,
  type TwoWays,
  twoWays,
} from '@dovecote/proto';
import {
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceDefinition,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Jobs } from '../jobs/jobs.ts';
import type { Clock } from '../lifecycle/clock.ts';
import type { Log } from '../lifecycle/log.ts';
import type { Random } from '../lifecycle/random.ts';
import { CallerGate } from './caller.ts';
import { selfSigned } from './certificate.ts';
import { exec } from './exec.ts';
import { healthHandlers } from './health.ts';
import { listenAddress, reachableHost } from './listen-address.ts';
import { McpCalls } from './mcp.ts';
import { toStatus } from './status-error.ts';

export interface ContainerServiceDeps {
  /** host:port; port 0: any */
  readonly listen: string;
  readonly files: PathJail;
  /** of commands; read anew for each */
  readonly env: () => Readonly<Record<string, string>>;
  readonly jobs: Jobs;
  /** of the agent; undefined: it has none of that name */
  readonly mcpServer: (name: string) => McpServerConfig | undefined;
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
  const server = new Server({
    interceptors: [gate.interceptor],
    'grpc.max_receive_message_length': 4 * 1024 * 1024,
    // A caller whose node died must not keep its commands alive. A connection may be as old as it likes.
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 10_000,
  });
  const { definition, handlers } = service(deps, ending.signal);
  server.addService(definition, handlers);
  server.addService(health.HealthService, healthHandlers);
  const credentials = ServerCredentials.createSsl(null, [{ private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) }]);
  const { host, port: wanted } = listenAddress(deps.listen);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:${wanted}`, credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(new Error(`cannot listen on ${deps.listen}: ${error.message}`, { cause: error })),
    );
  });
  return {
    address: `${reachableHost(host)}:${port}`,
    certificate,
    gate,
    close: async () => {
      ending.abort();
      server.forceShutdown();
    },
  };
}

/**
 * Every method is served as two streams: on the wire a call with one message is no other, and so one function carries them all.
 */
function service(
  deps: ContainerServiceDeps,
  ending: AbortSignal,
): { definition: ServiceDefinition; handlers: UntypedServiceImplementation } {
  const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
  const handlers: Record<string, UntypedHandleCall> = {};
  const add = <Req, Res>(name: keyof typeof proto.ContainerServiceService, work: (ways: TwoWays<Req, Res>) => Promise<void>): void => {
    const method = proto.ContainerServiceService[name] as unknown as MethodDefinition<unknown, unknown>;
    definition[name] = { ...method, requestStream: true, responseStream: true };
    handlers[name] = (call: ServerDuplexStream<Req, Res>) => {
      work(twoWays(call, ending)).then(
        () => call.end(),
        (e: unknown) => call.emit('error', toStatus(e, deps.log)),
      );
    };
  };
  for (const name of Object.keys(FILE_CALLS) as FileCallName[]) {
    const method = FILE_CALLS[name] as FileMethod<unknown, unknown>;
    add<unknown, unknown>(name, (ways) => method(deps.files, ways));
  }
  add<proto.ExecRequest, proto.ExecResponse>('exec', (ways) => exec(ways, deps));
  const mcp = new McpCalls({ ...deps, server: deps.mcpServer });
  add<proto.McpRequest, proto.McpResponse>('mcp', (ways) => mcp.serve(ways));
  return { definition, handlers };
}
