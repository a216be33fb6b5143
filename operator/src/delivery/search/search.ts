import { join } from 'node:path';
import type { agent as proto } from '@dovecote/proto';
import type { Feed } from '../shard/feed.ts';
import { type IndexerDeps, SearchIndexer } from './indexer.ts';
import { SearchThread } from './search-thread.ts';
import { type AgentServiceDeps, listOwnSessions, searchMessages } from './service.ts';

export interface SearchDeps extends Omit<IndexerDeps, 'thread'>, Omit<AgentServiceDeps, 'thread' | 'indexer' | 'index'> {
  /** the shard's folder */
  readonly root: string;
  readonly index: IndexerDeps['index'] & AgentServiceDeps['index'];
  readonly feed: Feed;
}

/** The parts of the search as one: what delivery starts, asks and closes. */
export class Search {
  readonly #deps: AgentServiceDeps;
  readonly #indexer: SearchIndexer;
  readonly #thread: SearchThread;
  readonly #unsubscribe: () => void;

  constructor(deps: SearchDeps) {
    this.#thread = new SearchThread(join(deps.root, 'search'), (agent) => this.#indexer.readAnew(agent));
    this.#indexer = new SearchIndexer({ ...deps, thread: this.#thread });
    this.#deps = { ...deps, thread: this.#thread, indexer: this.#indexer };
    this.#unsubscribe = deps.feed.subscribe((session) => this.#indexer.note(session));
  }

  /** Runs until the signal aborts. */
  run(signal: AbortSignal): Promise<void> {
    return this.#indexer.run(signal);
  }

  amended(session: string, seq: number): Promise<void> {
    return this.#indexer.amended(session, seq);
  }

  /** `caller`: a session. Throws StatusError. */
  listOwnSessions(caller: string, request: proto.ListOwnSessionsRequest, signal: AbortSignal): Promise<proto.ListOwnSessionsResponse> {
    return listOwnSessions(this.#deps, caller, request, signal);
  }

  /** `caller`: a session. Throws StatusError. */
  searchMessages(caller: string, request: proto.SearchMessagesRequest, signal: AbortSignal): Promise<proto.SearchMessagesResponse> {
    return searchMessages(this.#deps, caller, request, signal);
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    await this.#thread.close();
  }
}
