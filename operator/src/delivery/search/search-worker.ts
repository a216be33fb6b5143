/** The search thread: all SQL over the search files runs here, beside the event loop that carries messages. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import type { SearchCalls, SearchNews, SearchReply, SearchRequest } from './search-protocol.ts';
import { SearchStore } from './search-store.ts';

/** Files of agents that are kept open. */
const MAX_OPEN = 16;

const { folder } = workerData as { readonly folder: string };
mkdirSync(folder, { recursive: true });
const open = new Map<string, SearchStore>();

const calls: SearchCalls = {
  position: (agent, session) => storeOf(agent).position(session),
  sessions: (agent) => storeOf(agent).sessions(),
  counts: (agent, sessions) => sessions.map((session) => storeOf(agent).count(session)),
  add: (agent, addition) => storeOf(agent).add(addition),
  replace: (agent, session, row) => storeOf(agent).replace(session, row),
  forget: (agent, session) => storeOf(agent).forget(session),
  keepOnly: (agents) => {
    const kept = new Set(agents);
    for (const agent of agentsWithFiles()) if (!kept.has(agent)) discard(agent);
  },
  search: (agent, query) => storeOf(agent).search(query),
};

parentPort?.on('message', (request: SearchRequest | 'close') => {
  if (request === 'close') {
    for (const store of open.values()) store.close();
    parentPort?.close();
    return;
  }
  parentPort?.postMessage(answer(request));
});

function answer({ id, method, args }: SearchRequest): SearchReply {
  try {
    return { id, ok: true, value: call(method, args) };
  } catch (e) {
    const agent = String(args[0]);
    if (isBroken(e)) discard(agent);
    return { id, ok: false, code: codeOf(e), message: e instanceof Error ? e.message : String(e) };
  }
}

function call(method: keyof SearchCalls, args: readonly unknown[]): unknown {
  return (calls[method] as (...all: readonly unknown[]) => unknown)(...args);
}

function storeOf(agent: string): SearchStore {
  const known = open.get(agent);
  open.delete(agent);
  const store = known ?? openStore(agent);
  if (known === undefined && store.made) parentPort?.postMessage({ made: agent } satisfies SearchNews);
  open.set(agent, store); // the newest last
  for (const [oldest, other] of open) {
    if (open.size <= MAX_OPEN) break;
    other.close();
    open.delete(oldest);
  }
  return store;
}

function openStore(agent: string): SearchStore {
  try {
    return new SearchStore(pathOf(agent));
  } catch (e) {
    if (!isBroken(e)) throw e;
    discard(agent);
    return new SearchStore(pathOf(agent));
  }
}

/** It holds nothing that the cells do not: the next reader fills a new one. */
function discard(agent: string): void {
  open.get(agent)?.close();
  open.delete(agent);
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${pathOf(agent)}${suffix}`, { force: true });
}

function pathOf(agent: string): string {
  return join(folder, `${encodeURIComponent(agent).replaceAll('.', '%2E')}.db`);
}

function agentsWithFiles(): readonly string[] {
  return readdirSync(folder).flatMap((name) => (name.endsWith('.db') ? [decodeURIComponent(name.slice(0, -'.db'.length))] : []));
}

function isBroken(e: unknown): boolean {
  return codeOf(e) === 'SQLITE_NOTADB' || codeOf(e).startsWith('SQLITE_CORRUPT');
}

function codeOf(e: unknown): string {
  return e instanceof Error && 'code' in e ? String(e.code) : '';
}
