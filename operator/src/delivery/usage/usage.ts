/**
 * Usage of models, on the home shard of each agent. In: the proxy asks before each request (Admit) and tells its end (Finish).
 * Out: rows in usage.db, how the agent stands with its budget (a condition), and a notice in the chat when little is left.
 */
import { type AgentGroup, Reason, type Session } from '@dovecote/crds';
import type { usage } from '@dovecote/proto';
import type { Counter } from 'prom-client';
import type { ResourceStore } from '../../kube/store.ts';
import type { Clock } from '../../lib/clock.ts';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Background } from '../background.ts';
import type { Cells } from '../cells/cells.ts';
import type { Inbox } from '../inbox/inbox.ts';
import { retryMessage } from '../inbox/new-message.ts';
import type { Outbox } from '../outbox/outbox.ts';
import { NOTICE_ANNOTATION, parseNotice, RETRY_ANNOTATION, writeNotice, writeRetry } from '../session-object.ts';
import { whoWaits } from '../wake/who-waits.ts';
import type { BudgetReports } from './budget-reports.ts';
import { costOf } from './cost.ts';
import { headroomOf } from './headroom.ts';
import { HEADROOM_MS, type Request, type Rules, type UsageLedger } from './ledger.ts';
import { periodAt } from './period.ts';
import { type Standing, standingOf } from './standing.ts';

export interface UsageDeps {
  readonly shard: string;
  readonly store: ResourceStore;
  readonly ledger: UsageLedger;
  readonly reports: BudgetReports;
  readonly agentGroups: { get(name: string): AgentGroup | undefined; list(): Iterable<AgentGroup> };
  readonly cells: Pick<Cells, 'has' | 'open'>;
  readonly outbox: Pick<Outbox, 'notice'>;
  readonly inbox: Pick<Inbox, 'append'>;
  readonly background: Background;
  readonly clock: Clock;
  readonly admissions: Pick<Counter<'outcome'>, 'inc'>;
}

/** Ids and names longer than these are none of ours. */
const MAX_ID = 64;
const MAX_NAME = 253;
const MAX_MODEL = 128;
/** More tokens than any one answer can have. */
const MAX_TOKENS = 1_000_000_000;
const MAX_LISTED = 10_000;
/** Once an hour. */
const PRUNE_MS = 3_600_000;

export class Usage {
  readonly #deps: UsageDeps;
  readonly #noticed = new Set<string>();
  readonly #retrying = new Set<string>();
  #prunedAt = 0;

  constructor(deps: UsageDeps) {
    this.#deps = deps;
  }

  /** Throws NOT_FOUND, INVALID_ARGUMENT, or SQLite's error of a full volume. */
  async admit(given: usage.AdmitRequest): Promise<usage.AdmitResponse> {
    const { ledger, admissions } = this.#deps;
    const { agent, holder, request } = this.#parse(given);
    const admitted = await ledger.admit(request, { holder, begun: given.begun }, this.#rules(agent));
    const refused = 'sentence' in admitted;
    admissions.inc({ outcome: refused ? 'exhausted' : given.begun ? 'begun' : 'admitted' });
    if (!refused) return { admitted: true, sentence: '', retryAtMs: 0, headroom: headroomMessage(admitted.headroom) };
    this.#tell(agent, given.session);
    return { admitted: false, ...admitted, headroom: undefined };
  }

  /** Throws as `admit`. Told twice, it counts once. */
  async finish(given: usage.FinishRequest): Promise<usage.FinishResponse> {
    const { agent, holder, request } = this.#parse(given);
    const tokens = given.tokens ?? { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };
    for (const count of Object.values(tokens)) {
      if (!Number.isSafeInteger(count) || count < 0 || count > MAX_TOKENS)
        throw new StatusError(status.INVALID_ARGUMENT, `tokens must be whole numbers from 0 to ${MAX_TOKENS}`);
    }
    const cost = costOf(tokens, request.model, agent.spec.budget?.prices);
    const finished = { ...request, tokens, cost, complete: given.complete };
    const { news, headroom } = await this.#deps.ledger.finish(finished, holder, this.#rules(agent));
    if (news) this.#tell(agent, given.session);
    return { headroom: headroomMessage(headroom) };
  }

  list({ agentGroup, fromMs, toMs }: usage.ListUsageRequest): usage.ListUsageResponse {
    const { ledger, agentGroups, clock } = this.#deps;
    const now = clock.now();
    const agents = agentGroup === '' ? ledger.agents() : [agentGroup];
    return {
      agents: agents
        .flatMap((name) => {
          const from = fromMs > 0 ? fromMs : periodAt(agentGroups.get(name)?.spec.budget?.period ?? 'Month', now).fromMs;
          return ledger.list(name, from, toMs > 0 ? toMs : now, MAX_LISTED);
        })
        .slice(0, MAX_LISTED),
    };
  }

  /** Each minute: a period may have ended without a request. */
  tick(): void {
    const { agentGroups, clock, ledger } = this.#deps;
    const now = clock.now();
    for (const agent of agentGroups.list()) this.#tell(agent);
    if (now - this.#prunedAt < PRUNE_MS) return;
    this.#prunedAt = now;
    ledger.prune(now);
  }

  /** The cache has news of the AgentGroup: its budget may be another. */
  onAgentGroup(agent: AgentGroup): void {
    this.#deps.reports.seen(agent);
    this.#tell(agent);
    this.#retry(agent);
  }

  /** Each second: a period may have ended, and whoever was refused in it need not wait for the next try. */
  retryRefused(): void {
    for (const name of this.#deps.ledger.agentsRefused()) {
      const agent = this.#deps.agentGroups.get(name);
      if (agent !== undefined) this.#retry(agent);
    }
  }

  /** The cache has news of a Session of this shard: the home shard of its agent may have left a notice for it. */
  onSession({ metadata: { name, annotations } }: Session): void {
    const { cells, outbox, inbox, background } = this.#deps;
    const retry = annotations?.[RETRY_ANNOTATION];
    if (retry !== undefined && retry.length <= MAX_ID && !this.#noticed.has(`${name} retry ${retry}`) && cells.has(name)) {
      this.#noticed.add(`${name} retry ${retry}`);
      background.run('retry', name, async () => {
        try {
          await inbox.append(name, retryMessage(retry)); // once per id, also by the next process
        } catch (e) {
          this.#noticed.delete(`${name} retry ${retry}`); // so that the next look at the object tries again
          throw e;
        }
      });
    }
    const notice = parseNotice(annotations?.[NOTICE_ANNOTATION]);
    const key = `${name} ${notice?.id}`;
    if (notice === undefined || this.#noticed.has(key) || !cells.has(name)) return;
    this.#noticed.add(key);
    background.run('notice', name, async () => {
      const whom = whoWaits(cells.open(name));
      if (whom === undefined) return;
      const { seq: _seq, ...chat } = whom;
      await outbox.notice(name, { ...notice, ...chat }); // said once per id, also by the next process
    });
  }

  /** `session`: whose request brought it there, and whose chat hears that little is left. */
  #tell(agent: AgentGroup, session?: string): void {
    const { shard, store, reports, background } = this.#deps;
    if (agent.status?.shards?.[0] !== shard) return;
    const standing = this.#standing(agent);
    const news = reports.report(agent, standing);
    if (!news || session === undefined || standing?.reason !== Reason.BudgetLow) return;
    // Its cell may be on another shard, which alone can write to it: the Session's object carries the notice there.
    const notice = { id: `budget/low/${standing.fromMs}`, text: standing.sentence };
    background.run('budget-notice', session, (signal) => writeNotice(store, session, notice, signal));
  }

  /** Its refused sessions hear of it when it has room again, on whatever shard their cells are. */
  #retry(agent: AgentGroup): void {
    const { shard, store, ledger, background } = this.#deps;
    const { uid } = agent.metadata;
    const refused = ledger.refused(uid);
    if (refused.length === 0 || agent.status?.shards?.[0] !== shard) return;
    if (this.#standing(agent)?.reason === Reason.BudgetExhausted) return;
    for (const { session, at } of refused) {
      if (this.#retrying.has(session)) continue;
      this.#retrying.add(session);
      background.run('retry-refused', session, async (signal) => {
        try {
          await writeRetry(store, session, `budget/${at}`, signal);
          ledger.forgetRefused(uid, session, at);
        } finally {
          this.#retrying.delete(session);
        }
      });
    }
  }

  #rules(agent: AgentGroup): Rules {
    const { ledger, clock } = this.#deps;
    const { budget } = agent.spec;
    return {
      refuse: () => {
        const standing = this.#standing(agent);
        return standing?.reason === Reason.BudgetExhausted ? { sentence: standing.sentence, retryAtMs: standing.untilMs } : undefined;
      },
      headroom: (setAside) => {
        if (budget === undefined) return 0;
        return headroomOf(budget, ledger.used(agent.metadata.uid, periodAt(budget.period, clock.now()).fromMs), setAside);
      },
    };
  }

  #standing(agent: AgentGroup): Standing | undefined {
    const { ledger, clock } = this.#deps;
    return standingOf(agent, (fromMs) => ledger.used(agent.metadata.uid, fromMs), clock.now());
  }

  #parse(given: usage.AdmitRequest | usage.FinishRequest) {
    const { requestId, session, agentGroup, holder } = given;
    if (requestId === '' || requestId.length > MAX_ID)
      throw new StatusError(status.INVALID_ARGUMENT, `request_id must have 1 to ${MAX_ID} characters`);
    if (session === '' || session.length > MAX_NAME)
      throw new StatusError(status.INVALID_ARGUMENT, `session must have 1 to ${MAX_NAME} characters`);
    if (holder.length > MAX_ID) throw new StatusError(status.INVALID_ARGUMENT, `holder must have at most ${MAX_ID} characters`);
    const agent = this.#deps.agentGroups.get(agentGroup);
    if (agent === undefined || agent.status?.shards?.[0] !== this.#deps.shard)
      throw new StatusError(
        status.NOT_FOUND,
        `shard ${this.#deps.shard} is not the home of an AgentGroup ${agentGroup.slice(0, MAX_NAME)}`,
      );
    const model = given.model.slice(0, MAX_MODEL); // as the upstream names it: not ours to refuse
    const request: Request = { requestId, session, agentGroup, agentGroupUid: agent.metadata.uid, model, at: this.#deps.clock.now() };
    return { agent, request, holder: agent.spec.budget === undefined ? '' : holder };
  }
}

const headroomMessage = (requests: number): usage.Headroom => ({ requests, forMs: HEADROOM_MS });
