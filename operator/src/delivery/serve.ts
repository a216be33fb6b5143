/** The services of a shard on one address. Who may call what is decided here. */
import { agent, attach, inbox, sessions, usage } from '@dovecote/proto';
import { type Metadata, Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import type { Histogram } from 'prom-client';
import type { Clock } from '../lib/clock.ts';
import { authenticate, CHANNEL_OPTIONS, callerOf, closeServer, handleUnary, listen, StatusError, status, toStatus } from '../lib/grpc.ts';
import type { TokenReviewer } from '../lib/identity.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { AttachHub } from './attach/hub.ts';
import { type ContainerServiceDeps, containerService } from './container/container-service.ts';
import { amend } from './inbox/amend.ts';
import { answer } from './inbox/answer.ts';
import type { Inbox, InboxDeps } from './inbox/inbox.ts';
import { stageAttachment } from './inbox/stage-attachment.ts';
import type { Outbox } from './outbox/outbox.ts';
import type { Search } from './search/search.ts';
import { deadLetters } from './sessions/dead-letters.ts';
import { openConversationFile } from './sessions/download-file.ts';
import { explain } from './sessions/explain.ts';
import { listMessages, listSessions, type SessionsDeps } from './sessions/service.ts';
import { type WatchDeps, watchMessages } from './sessions/watch.ts';
import { write } from './sessions/write.ts';
import type { Usage } from './usage/usage.ts';
import type { Wake } from './wake/wake.ts';

export interface ServeDeps {
  readonly listen: string;
  readonly reviewer: TokenReviewer;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly hub: AttachHub;
  readonly inbox: Inbox;
  readonly inboxDeps: InboxDeps;
  readonly maxStagedBytes: () => number;
  readonly sessionsDeps: SessionsDeps;
  readonly watchDeps: WatchDeps;
  readonly search: Search;
  readonly wake: Wake;
  readonly outbox: Pick<Outbox, 'retry'>;
  readonly usage: Usage;
  readonly enqueueSeconds: Pick<Histogram, 'observe'>;
  readonly containerDeps: Omit<ContainerServiceDeps, 'stopping'>;
}

const CLOSE_GRACE_MS = 5_000;

/** Answers with the address it listens on. `close` ends streams, lets calls in hand finish, and waits. */
export async function serve(deps: ServeDeps): Promise<{ readonly address: string; close(): Promise<void> }> {
  const { log, clock } = deps;
  const stopping = new AbortController();
  const server = new Server({
    ...CHANNEL_OPTIONS,
    interceptors: [authenticate(deps.reviewer, 'dovecote-delivery', () => true)],
  });
  const onInternal = (method: string) => (err: Error) => log.error({ method, err }, 'call failed');
  /** A session's own runner may attach and look up what its agent said; the proxy, which Pods talk to, may tell usage; no more. */
  const forRoles = <Req, Res>(
    method: string,
    handler: (request: Req, signal: AbortSignal) => Promise<Res> | Res,
    check = mustBeRole,
  ): ((call: ServerUnaryCall<Req, Res>, callback: sendUnaryData<Res>) => void) =>
    handleUnary(async (request: Req, call) => {
      check(call.metadata);
      try {
        return await handler(request, stopping.signal);
      } catch (e) {
        throw deps.inbox.classify(e);
      }
    }, onInternal(method));

  server.addService(inbox.InboxService, {
    enqueue: forRoles('Enqueue', async (request: inbox.EnqueueRequest) => {
      const startedAt = clock.now();
      const response = await deps.inbox.enqueue(request);
      deps.enqueueSeconds.observe((clock.now() - startedAt) / 1000);
      return response;
    }),
    amend: forRoles('Amend', (request: inbox.AmendRequest) => amend({ ...deps.inboxDeps, inbox: deps.inbox }, request)),
    answer: forRoles('Answer', (request: inbox.AnswerRequest) => answer({ ...deps.inboxDeps, inbox: deps.inbox }, request)),
    recordDrop: forRoles('RecordDrop', async (request: inbox.RecordDropRequest) => {
      await deps.inboxDeps.drops.record(request, clock.now());
      return {};
    }),
    stageAttachment: (call, callback) => {
      const staged = async (): Promise<inbox.StageAttachmentResponse> => {
        mustBeRole(call.metadata);
        if (deps.inboxDeps.space.full)
          throw new StatusError(status.RESOURCE_EXHAUSTED, 'the volume is full; send the attachment again later');
        const { staging } = deps.inboxDeps;
        return stageAttachment(call, { staging, random: deps.random, maxBytes: deps.maxStagedBytes });
      };
      staged().then(
        (response) => callback(null, response),
        (thrown: unknown) => callback(toStatus(deps.inbox.classify(thrown), onInternal('StageAttachment'))),
      );
    },
  } satisfies inbox.InboxServer);

  server.addService(attach.AttachService, { attach: (call) => deps.hub.serve(call) } satisfies attach.AttachServer);

  server.addService(agent.AgentService, {
    listOwnSessions: handleUnary(
      async (request: agent.ListOwnSessionsRequest, call) =>
        deps.search.listOwnSessions(sessionOf(call.metadata), request, stopping.signal),
      onInternal('ListOwnSessions'),
    ),
    searchMessages: handleUnary(
      async (request: agent.SearchMessagesRequest, call) => deps.search.searchMessages(sessionOf(call.metadata), request, stopping.signal),
      onInternal('SearchMessages'),
    ),
  } satisfies agent.AgentServer);

  server.addService(sessions.SessionsService, {
    listSessions: forRoles('ListSessions', (request: sessions.ListSessionsRequest) => listSessions(deps.sessionsDeps, request)),
    listMessages: forRoles('ListMessages', (request: sessions.ListMessagesRequest, signal) =>
      listMessages(deps.sessionsDeps, request, signal),
    ),
    watchMessages: (call) => {
      const gone = new AbortController();
      const leave = (): void => gone.abort(new Error('the reader is gone'));
      call.on('cancelled', leave);
      call.on('close', leave);
      const signal = AbortSignal.any([gone.signal, stopping.signal]);
      const watch = async (): Promise<void> => {
        mustBeRole(call.metadata);
        await watchMessages(deps.watchDeps, call.request, call, signal);
      };
      watch().then(
        () => call.end(),
        (thrown: unknown) => {
          if (signal.aborted) call.end();
          else call.emit('error', toStatus(thrown, onInternal('WatchMessages')));
        },
      );
    },
    downloadFile: (call) => {
      const gone = new AbortController();
      const leave = (): void => gone.abort(new Error('the reader is gone'));
      call.on('cancelled', leave);
      call.on('close', leave);
      const signal = AbortSignal.any([gone.signal, stopping.signal]);
      const send = async (): Promise<void> => {
        mustBeRole(call.metadata);
        const file = openConversationFile(deps.sessionsDeps.cells, call.request);
        try {
          await write(call, { part: { $case: 'info', value: file.info } }, signal);
          if (signal.aborted) return;
          for await (const chunk of file.chunks()) {
            await write(call, { part: { $case: 'chunk', value: chunk } }, signal);
            if (signal.aborted) return;
          }
        } finally {
          file.close(); // the reader may have gone before its first byte
        }
      };
      send().then(
        // Half a file must not look whole.
        () =>
          stopping.signal.aborted ? call.emit('error', { code: status.UNAVAILABLE, message: 'delivery is shutting down' }) : call.end(),
        (thrown: unknown) => call.emit('error', toStatus(thrown, onInternal('DownloadFile'))),
      );
    },
    explain: forRoles('Explain', (request: sessions.ExplainRequest, signal) =>
      explain({ ...deps.sessionsDeps, state: (session) => deps.wake.state(session) }, request, signal),
    ),
    listDrops: forRoles('ListDrops', (request: sessions.ListDropsRequest) => ({ drops: deps.sessionsDeps.drops.list(request) })),
    listDeadLetters: forRoles('ListDeadLetters', (request: sessions.ListDeadLettersRequest, signal) =>
      deadLetters(deps.sessionsDeps, request, signal),
    ),
    retryDeadLetter: forRoles('RetryDeadLetter', async (request: sessions.RetryDeadLetterRequest) => {
      const [, session = '', seq = ''] = /^([^/]+)\/([0-9]+)$/.exec(request.id) ?? [];
      if (!deps.sessionsDeps.cells.has(session)) return { found: false };
      const again = await deps.outbox.retry(session, Number(seq));
      if (again === undefined) return { found: false };
      log.info({ id: request.id, requestedBy: request.requestedBy, seq: again }, 'dead letter is tried again');
      if (again % 2 === 0) deps.wake.request(session);
      return { found: true };
    }),
  } satisfies sessions.SessionsServer);

  server.addService(usage.UsageService, {
    admit: forRoles('Admit', (request: usage.AdmitRequest) => deps.usage.admit(request), mustBeProxy),
    finish: forRoles('Finish', (request: usage.FinishRequest) => deps.usage.finish(request), mustBeProxy),
    listUsage: forRoles('ListUsage', (request: usage.ListUsageRequest) => deps.usage.list(request)),
  } satisfies usage.UsageServer);

  const container = containerService({ ...deps.containerDeps, stopping: stopping.signal });
  server.addService(container.definition, container.handlers);

  const address = await listen(server, deps.listen);
  return {
    address,
    close: async () => {
      stopping.abort(new Error('delivery is shutting down'));
      deps.hub.close();
      await closeServer(server, CLOSE_GRACE_MS);
    },
  };
}

function mustBeRole(metadata: Metadata): void {
  const caller = callerOf(metadata);
  if (caller.type !== 'role') throw new StatusError(status.PERMISSION_DENIED, 'a session may only attach and search');
  if (caller.role === 'proxy') throw new StatusError(status.PERMISSION_DENIED, 'the proxy may only tell usage');
}

function mustBeProxy(metadata: Metadata): void {
  const caller = callerOf(metadata);
  if (caller.type !== 'role' || caller.role !== 'proxy') throw new StatusError(status.PERMISSION_DENIED, 'only the proxy tells usage');
}

function sessionOf(metadata: Metadata): string {
  const caller = callerOf(metadata);
  if (caller.type !== 'session') throw new StatusError(status.PERMISSION_DENIED, 'only a session has other conversations of its own');
  return caller.session;
}
