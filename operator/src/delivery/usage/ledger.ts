/** The rows of usage.db. Each call is durable when its promise resolves; calls of one turn of the event loop share a commit. */
import type { usage } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { prepared } from '../cells/statements.ts';
import { type CommitLine, GroupCommit, type Outcome } from '../inbox/group-commit.ts';
import { dayOf } from './period.ts';

/** One model request of one session. */
export interface Request {
  readonly requestId: string;
  readonly session: string;
  readonly agentGroup: string;
  readonly agentGroupUid: string;
  readonly model: string;
  /** ms since 1970 */
  readonly at: number;
}

export interface Finished extends Request {
  readonly tokens: usage.Tokens;
  /** in millionths of the currency */
  readonly cost: number;
  readonly complete: boolean;
}

/** What an agent used since some day. */
export interface Used {
  readonly tokens: number;
  /** in millionths of the currency */
  readonly cost: number;
}

/** Why a request is not admitted. */
export interface Refusal {
  readonly sentence: string;
  readonly retryAtMs: number;
}

/** What a budget says of a request. Asked inside the commit, so that of two requests at once the second sees the first. */
export interface Rules {
  refuse(): Refusal | undefined;
  /** `setAside`: requests that are open, or that others may begin. How many the holder may begin before they are rows. */
  headroom(setAside: number): number;
}

/** Which process of the proxy asks; `begun`: it sent the request without waiting for the row. */
interface Asking {
  readonly holder: string;
  readonly begun: boolean;
}

/** `headroom`: requests that the holder may begin before they are rows. */
export type Admitted = { readonly headroom: number } | Refusal;
export interface Ended {
  /** its end had not been told before */
  readonly news: boolean;
  readonly headroom: number;
}

type Admission = Request & { readonly asking: Asking; readonly rules: Rules };
type End = Finished & { readonly holder: string; readonly rules: Rules };

/** So long a holder may use its headroom: longer than most tools take, so that the end of one request makes room for the next. */
export const HEADROOM_MS = 60_000;
/** No request is open for longer: the proxy ends it. One whose end was not told by then takes no room any more. */
const OPEN_MS = 3_600_000 + 60_000;
/** A finished request is remembered this long, so that its end told twice counts once. */
const FINISHED_MS = 7 * 86_400_000;
/** Totals, and requests whose end nobody told, are kept for a year and a month. */
const KEPT_DAYS = 400;

export class UsageLedger {
  readonly #db: Database;
  readonly #admissions: GroupCommit<Admission, Admitted>;
  readonly #ends: GroupCommit<End, Ended>;

  constructor(db: Database, line: CommitLine) {
    this.#db = db;
    this.#admissions = new GroupCommit(line, (batch) => this.#all(batch, (one) => this.#admit(one)));
    this.#ends = new GroupCommit(line, (batch) => this.#all(batch, (one) => this.#finish(one)));
  }

  /** One that has begun is never refused. */
  admit(request: Request, asking: Asking, rules: Rules): Promise<Admitted> {
    return this.#admissions.add({ ...request, asking, rules });
  }

  /** Told twice, it counts once. One that was never admitted is counted all the same. */
  finish(request: Finished, holder: string, rules: Rules): Promise<Ended> {
    return this.#ends.add({ ...request, holder, rules });
  }

  used(agentGroupUid: string, fromMs: number): Used {
    return prepared(
      this.#db,
      'SELECT coalesce(sum(tokens), 0) AS tokens, coalesce(sum(cost), 0) AS cost FROM days WHERE agent_group_uid = ? AND day >= ?',
    ).get(agentGroupUid, dayOf(fromMs)) as Used;
  }

  /** Names of agents of which sessions were refused. */
  agentsRefused(): readonly string[] {
    return prepared(this.#db, 'SELECT DISTINCT agent_group FROM refused').pluck().all() as string[];
  }

  /** Its sessions that were refused, and when last, ms since 1970. */
  refused(agentGroupUid: string): readonly { readonly session: string; readonly at: number }[] {
    return prepared(this.#db, 'SELECT session, at FROM refused WHERE agent_group_uid = ?').all(agentGroupUid) as {
      session: string;
      at: number;
    }[];
  }

  /** It was told; refused again since, it stays. */
  forgetRefused(agentGroupUid: string, session: string, at: number): void {
    prepared(this.#db, 'DELETE FROM refused WHERE agent_group_uid = ? AND session = ? AND at = ?').run(agentGroupUid, session, at);
  }

  /** Names of agents with something to show. */
  agents(): readonly string[] {
    return prepared(
      this.#db,
      'SELECT agent_group FROM totals UNION SELECT agent_group FROM requests WHERE finished_at IS NULL ORDER BY agent_group',
    )
      .pluck()
      .all() as string[];
  }

  /** By session and model, the most used first. Whole days: those that hold `fromMs` and `toMs` count whole. */
  list(agentGroup: string, fromMs: number, toMs: number, limit: number): readonly usage.AgentUsage[] {
    const rows = prepared(
      this.#db,
      `SELECT session, model, sum(requests) AS requests, sum(unfinished) AS unfinished, sum(input) AS input, sum(output) AS output,
         sum(cache_read) AS cacheRead, sum(cache_write) AS cacheWrite, sum(cost) AS cost
       FROM (
         SELECT session, model, requests, 0 AS unfinished, input, output, cache_read, cache_write, cost FROM totals
         WHERE agent_group = @agentGroup AND day BETWEEN @fromDay AND @toDay
         UNION ALL
         SELECT session, model, 1, 1, 0, 0, 0, 0, 0 FROM requests
         WHERE finished_at IS NULL AND agent_group = @agentGroup AND admitted_at BETWEEN @fromMs AND @toMs
       ) GROUP BY session, model ORDER BY sum(cost) DESC, sum(input) + sum(output) DESC, session, model LIMIT @limit`,
    ).all({ agentGroup, fromMs, toMs, fromDay: dayOf(fromMs), toDay: dayOf(toMs), limit }) as ({
      session: string;
      model: string;
      requests: number;
      unfinished: number;
      cost: number;
    } & usage.Tokens)[];
    return rows.map(({ session, model, requests, unfinished, cost, ...tokens }) => ({
      agentGroup,
      session,
      model,
      tokens,
      requests,
      unfinished,
      cost: cost / 1_000_000,
    }));
  }

  /** Forgets what is too old to matter. */
  prune(now: number): void {
    this.#db.transaction(() => {
      prepared(this.#db, 'DELETE FROM requests WHERE finished_at < ?').run(now - FINISHED_MS);
      prepared(this.#db, 'DELETE FROM requests WHERE finished_at IS NULL AND admitted_at < ?').run(now - KEPT_DAYS * 86_400_000);
      prepared(this.#db, 'DELETE FROM refused WHERE at < ?').run(now - KEPT_DAYS * 86_400_000);
      prepared(this.#db, 'DELETE FROM headroom WHERE until <= ?').run(now);
      for (const table of ['totals', 'days']) prepared(this.#db, `DELETE FROM ${table} WHERE day < ?`).run(dayOf(now) - KEPT_DAYS);
    })();
  }

  close(): void {
    this.#db.close();
  }

  #all<In, Out>(batch: readonly In[], each: (item: In) => Out): readonly Outcome<Out>[] {
    return this.#db.transaction(() => batch.map((item) => ({ value: each(item) })))();
  }

  #admit({ asking: { holder, begun }, rules, ...request }: Admission): Admitted {
    const refusal = begun ? undefined : rules.refuse();
    if (refusal !== undefined) {
      prepared(
        this.#db,
        `INSERT INTO refused (agent_group_uid, session, agent_group, at) VALUES (@agentGroupUid, @session, @agentGroup, @at)
         ON CONFLICT DO UPDATE SET at = excluded.at`,
      ).run(request);
      return refusal;
    }
    prepared(
      this.#db,
      `INSERT INTO requests (request_id, agent_group, agent_group_uid, session, model, admitted_at)
       VALUES (@requestId, @agentGroup, @agentGroupUid, @session, @model, @at) ON CONFLICT DO NOTHING`,
    ).run(request);
    return { headroom: this.#headroom(request, holder, rules) };
  }

  #finish({ holder, rules, ...finished }: End): Ended {
    const news = this.#count(finished);
    return { news, headroom: this.#headroom(finished, holder, rules) };
  }

  /** A row until it is over: the next process of delivery must not give the same room away again. */
  #headroom({ agentGroup, agentGroupUid: uid, at }: Request, holder: string, rules: Rules): number {
    if (holder === '') return 0;
    const open = prepared(
      this.#db,
      'SELECT count(*) FROM requests WHERE finished_at IS NULL AND agent_group = ? AND admitted_at > ?',
    ).pluck();
    const others = prepared(
      this.#db,
      'SELECT coalesce(sum(requests), 0) FROM headroom WHERE agent_group_uid = ? AND holder <> ? AND until > ?',
    ).pluck();
    const setAside = Number(open.get(agentGroup, at - OPEN_MS)) + Number(others.get(uid, holder, at));
    const requests = rules.headroom(setAside);
    if (requests === 0) prepared(this.#db, 'DELETE FROM headroom WHERE agent_group_uid = ? AND holder = ?').run(uid, holder);
    else
      prepared(
        this.#db,
        `INSERT INTO headroom (agent_group_uid, holder, requests, until) VALUES (@uid, @holder, @requests, @until)
         ON CONFLICT DO UPDATE SET requests = excluded.requests, until = excluded.until`,
      ).run({ uid, holder, requests, until: at + HEADROOM_MS });
    return requests;
  }

  /** False: it was told before. */
  #count({ tokens, cost, complete, ...request }: Finished): boolean {
    const known = prepared(this.#db, 'SELECT admitted_at, finished_at FROM requests WHERE request_id = ?').get(request.requestId) as
      | { admitted_at: number; finished_at: number | null }
      | undefined;
    if (known !== undefined && known.finished_at !== null) return false;
    prepared(
      this.#db,
      `INSERT INTO requests (request_id, agent_group, agent_group_uid, session, model, admitted_at, finished_at, complete)
       VALUES (@requestId, @agentGroup, @agentGroupUid, @session, @model, @at, @at, @complete)
       ON CONFLICT DO UPDATE SET finished_at = excluded.finished_at, complete = excluded.complete, model = excluded.model`,
    ).run({ ...request, complete: complete ? 1 : 0 });
    // It counts for the day on which it was let in: a period that began since has not paid for it.
    const row = { ...request, ...tokens, cost, day: dayOf(known?.admitted_at ?? request.at) };
    prepared(
      this.#db,
      `INSERT INTO totals (agent_group_uid, day, session, model, agent_group, requests, input, output, cache_read, cache_write, cost)
       VALUES (@agentGroupUid, @day, @session, @model, @agentGroup, 1, @input, @output, @cacheRead, @cacheWrite, @cost)
       ON CONFLICT DO UPDATE SET requests = requests + 1, input = input + excluded.input, output = output + excluded.output,
         cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write, cost = cost + excluded.cost`,
    ).run(row);
    prepared(
      this.#db,
      `INSERT INTO days (agent_group_uid, day, tokens, cost)
       VALUES (@agentGroupUid, @day, @input + @output + @cacheRead + @cacheWrite, @cost)
       ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens, cost = cost + excluded.cost`,
    ).run(row);
    return true;
  }
}
