/** What the agent said in its other conversations, asked of delivery: the same address and token as Attach, dialled when it is needed. */
import { readFile } from 'node:fs/promises';
import { agent as proto } from '@dovecote/proto';
import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { Clock } from '../lifecycle/clock.ts';

const DEADLINE_MS = 15_000;

/** Delivery did not answer, or refused. The message is one for the model. */
export class AgentDataError extends Error {
  override readonly name = 'AgentDataError';
}

export interface AgentDataDeps {
  /** host:port of delivery */
  readonly address: string;
  /** file with the Pod's token, read at each call: kubelet exchanges it */
  readonly tokenFile: string;
  readonly clock: Pick<Clock, 'now'>;
}

type Method<Req, Res> = (
  request: Req,
  metadata: Metadata,
  options: { readonly deadline: number },
  callback: (error: ServiceError | null, response: Res) => void,
) => { cancel(): void };

export class AgentData {
  readonly #deps: AgentDataDeps;
  #client: proto.AgentClient | undefined;

  constructor(deps: AgentDataDeps) {
    this.#deps = deps;
  }

  /** Rejects with AgentDataError, or the signal's reason. */
  listSessions(request: proto.ListOwnSessionsRequest, signal: AbortSignal): Promise<proto.ListOwnSessionsResponse> {
    const client = this.#dial();
    return this.#call(client.listOwnSessions.bind(client), request, signal);
  }

  /** Rejects with AgentDataError, or the signal's reason. */
  searchMessages(request: proto.SearchMessagesRequest, signal: AbortSignal): Promise<proto.SearchMessagesResponse> {
    const client = this.#dial();
    return this.#call(client.searchMessages.bind(client), request, signal);
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  #dial(): proto.AgentClient {
    this.#client ??= new proto.AgentClient(this.#deps.address, credentials.createInsecure(), {
      'grpc.max_reconnect_backoff_ms': 2_000,
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 10_000,
    });
    return this.#client;
  }

  async #call<Req, Res>(method: Method<Req, Res>, request: Req, signal: AbortSignal): Promise<Res> {
    const metadata = new Metadata({ waitForReady: true }); // delivery restarts: a call waits for it until its deadline
    try {
      metadata.set('authorization', `Bearer ${(await readFile(this.#deps.tokenFile, 'utf8')).trim()}`);
    } catch (e) {
      throw new AgentDataError("The agent's other conversations cannot be read now: the session has no token yet. Try again later.", {
        cause: e,
      });
    }
    signal.throwIfAborted();
    return new Promise<Res>((resolve, reject) => {
      const call = method(request, metadata, { deadline: this.#deps.clock.now() + DEADLINE_MS }, (error, response) => {
        signal.removeEventListener('abort', cancel);
        if (error === null) resolve(response);
        else reject(signal.aborted ? signal.reason : new AgentDataError(sentenceOf(error), { cause: error }));
      });
      const cancel = (): void => call.cancel();
      signal.addEventListener('abort', cancel, { once: true });
    });
  }
}

function sentenceOf({ code, details }: ServiceError): string {
  switch (code) {
    case status.INVALID_ARGUMENT:
      return `That was refused: ${details}.`;
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
      return "The agent's other conversations may not be read from this session.";
    case status.UNIMPLEMENTED:
      return "The agent's other conversations cannot be read here.";
    default:
      return "The agent's other conversations cannot be read at this moment. Try again later.";
  }
}
