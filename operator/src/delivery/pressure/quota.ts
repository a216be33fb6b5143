/** Storage quotas: sizes of awake sessions each half minute, of all by the sweep; whoever stores too much is drained and told. */
import { join } from 'node:path';
import { type AgentGroup, byteCount } from '@dovecote/crds';
import { agentHomeSubPath } from '@dovecote/proto';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Cells } from '../cells/cells.ts';
import { measureFolder } from '../cells/measure.ts';
import type { ShardIndex } from '../shard/index-db.ts';
import type { StorageReports } from '../shard/storage-reports.ts';

export interface QuotaDeps {
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly storage: StorageReports;
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
  readonly log: Log;
  /** Drains the session if it is awake, and tells its chat when there is a text. */
  readonly drainAndTell: (session: string, reason: 'QuotaExceeded' | 'VolumeFull', text: string | undefined) => void;
}

/** How much more may be stored, and what is said of a write of `more` bytes that is too much. */
export interface Room {
  /** bytes; below 0: there is too much already */
  readonly left: number;
  readonly sentence: (more: number) => string;
}

/** About a second of walking; a session with more files than this is measured as "at least". */
const MAX_ENTRIES = 200_000;

export class Quota {
  readonly #deps: QuotaDeps;
  readonly #growth = new Map<string, number>();

  constructor(deps: QuotaDeps) {
    this.#deps = deps;
  }

  /** Measures these sessions one after the other and acts on what is over its limit. One that fails does not end the others. */
  async check(sessions: readonly string[], signal: AbortSignal): Promise<void> {
    const homes = new Map<string, number>();
    for (const session of sessions) {
      signal.throwIfAborted();
      try {
        await this.#checkOne(session, homes, signal);
      } catch (e) {
        signal.throwIfAborted();
        this.#deps.log.error({ session, err: toError(e) }, 'size of a session could not be measured');
      }
    }
  }

  /** The volume is full: measures the awake ones and drains the one that grew most since it was last measured. */
  async relieve(awake: readonly string[], signal: AbortSignal): Promise<string | undefined> {
    await this.check(awake, signal);
    const [session] = [...awake].sort((a, b) => (this.#growth.get(b) ?? 0) - (this.#growth.get(a) ?? 0));
    if (session === undefined) return undefined;
    const message = 'The volume of its shard is full and this session grew fastest. It goes on when there is room.';
    const text = 'The disk of this installation is full, and this conversation stored most. It was stopped and goes on when there is room.';
    const news = this.#deps.storage.report(session, { reason: 'VolumeFull', message });
    this.#deps.drainAndTell(session, 'VolumeFull', news ? text : undefined);
    return session;
  }

  /** What may still be stored in a session's own folders, or in its agent's home; undefined: as much as there is room for. */
  async room(session: string, place: 'cell' | 'home', signal: AbortSignal): Promise<Room | undefined> {
    const { cells, index, agentGroups } = this.#deps;
    const known = index.get(session);
    const agent = known && agentGroups.get(known.agent_group);
    const limit = agent && (place === 'home' ? homeLimit(agent) : cellLimit(agent));
    if (known === undefined || limit === undefined) return undefined;
    const stored =
      place === 'home'
        ? await this.#homeBytes(known.agent_group_uid, signal)
        : (await measureFolder(join(cells.root, 'cells', session), MAX_ENTRIES, signal)).bytes;
    return { left: limit.bytes - stored, sentence: (more) => `${limit.sentence(stored + more)} Remove files, or raise the limit.` };
  }

  async #homeBytes(agentGroupUid: string, signal: AbortSignal): Promise<number> {
    return (await measureFolder(join(this.#deps.cells.root, agentHomeSubPath(agentGroupUid)), MAX_ENTRIES, signal)).bytes;
  }

  async #checkOne(session: string, homes: Map<string, number>, signal: AbortSignal): Promise<void> {
    const { cells, index, agentGroups } = this.#deps;
    const known = index.get(session);
    if (known === undefined) return;
    const { bytes } = await measureFolder(join(cells.root, 'cells', session), MAX_ENTRIES, signal);
    this.#growth.set(session, bytes - known.size_bytes);
    index.setSize(session, bytes);
    const agent = agentGroups.get(known.agent_group);
    if (agent === undefined) return;
    const cell = cellLimit(agent);
    if (bytes > cell.bytes) {
      this.#exceeded(session, cell.sentence(bytes));
      return;
    }
    const home = homeLimit(agent);
    if (home !== undefined) {
      const { agent_group_uid } = known;
      const stored = homes.get(agent_group_uid) ?? (await this.#homeBytes(agent_group_uid, signal));
      homes.set(agent_group_uid, stored);
      if (stored > home.bytes) {
        this.#exceeded(session, home.sentence(stored));
        return;
      }
    }
    this.#deps.storage.clear(session, 'QuotaExceeded');
  }

  #exceeded(session: string, message: string): void {
    const text = `This conversation has used up its storage. ${message} It was stopped until there is room.`;
    const news = this.#deps.storage.report(session, {
      reason: 'QuotaExceeded',
      message: `${message} Remove files, or raise the limit, and it goes on by itself.`,
    });
    this.#deps.drainAndTell(session, 'QuotaExceeded', news ? text : undefined);
  }
}

/** Bytes, and what is said of more. */
interface Limit {
  readonly bytes: number;
  readonly sentence: (stored: number) => string;
}

function cellLimit({ metadata, spec }: AgentGroup): Limit {
  const bytes = byteCount(spec.limits.storage);
  return {
    bytes,
    sentence: (stored) => `It stores ${stored} bytes of the ${bytes} that spec.limits.storage of AgentGroup ${metadata.name} allows.`,
  };
}

function homeLimit({ metadata, spec }: AgentGroup): Limit | undefined {
  if (spec.limits.agentStorage === undefined) return undefined;
  const bytes = byteCount(spec.limits.agentStorage);
  const sentence = (stored: number): string =>
    `The agent's shared folder stores ${stored} bytes of the ${bytes} that spec.limits.agentStorage of AgentGroup ${metadata.name} allows.`;
  return { bytes, sentence };
}
