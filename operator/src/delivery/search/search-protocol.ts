import type { SearchAddition, SearchableRow, SearchHit, SearchQuery } from './search-store.ts';

/** What can be asked of the search thread, and what it answers. `agent`: the AgentGroup's uid. */
export interface SearchCalls {
  position(agent: string, session: string): string;
  sessions(agent: string): readonly string[];
  counts(agent: string, sessions: readonly string[]): readonly number[];
  add(agent: string, addition: SearchAddition): void;
  replace(agent: string, session: string, row: SearchableRow): void;
  forget(agent: string, session: string): void;
  /** removes the files of all other agents */
  keepOnly(agents: readonly string[]): void;
  search(agent: string, query: SearchQuery): readonly SearchHit[];
}

export interface SearchRequest {
  readonly id: number;
  readonly method: keyof SearchCalls;
  readonly args: readonly unknown[];
}

/** Unasked: the file of this agent was made anew, and holds nothing yet. Comes before the reply to the call that needed it. */
export interface SearchNews {
  readonly made: string;
}

export type SearchReply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly code: string; readonly message: string };
