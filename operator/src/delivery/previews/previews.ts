/**
 * Beside hop 8: on platforms whose messages can be changed, an answer is shown while it is written. The runner's partial texts come in
 * by `heard`; a message is made of them and changed, not too often, and the answer that the outbox then delivers takes its place.
 * All of it is best effort and nobody waits for it, but for one thing: the message must not be left behind, so that it exists is a row.
 */
import type { AgentGroup } from '@dovecote/crds';
import { attach } from '@dovecote/proto';
import type { Counter } from 'prom-client';
import type { Reached } from '../../lib/crash-point.ts';
import type { Log } from '../../lib/log.ts';
import type { AttachHub } from '../attach/hub.ts';
import type { Background } from '../background.ts';
import type { Cell } from '../cells/cells.ts';
import { type Address, answeredChat, type Destinations, laneOf } from '../outbox/address.ts';
import { Alarms } from '../outbox/alarms.ts';
import * as rows from '../outbox/preview-rows.ts';
import type { RateLimiter } from '../outbox/rate-limit.ts';
import { askedSeq } from './asked-chat.ts';
import type { PreviewOutcome } from './preview-calls.ts';
import { GIVE_UP_MS, previewKey, SETTLE_AFTER_MS, type TidyDeps, tidyPreview } from './tidy-preview.ts';
import { waitsForPerson } from './waits-for-person.ts';

export interface PreviewsDeps extends TidyDeps {
  readonly hub: Pick<AttachHub, 'partial' | 'progress'>;
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
  readonly destinations: Destinations;
  readonly limiter: Pick<RateLimiter, 'tryEnterSpare'>;
  readonly background: Background;
  readonly log: Log;
  readonly reached: Reached;
  /** by outcome: shown, changed, removed, settled, failed */
  readonly outcomes: Pick<Counter<'outcome'>, 'inc'>;
}

/** An answer that is whole by then never makes one: most answers cost no call and no commit more than without previews. */
export const PREVIEW_AFTER_MS = 1_500;
/** A gateway that does not say how often. */
const EVERY_MS = 1_200;
/** After a change that failed. */
const AGAIN_MS = 5_000;
/** Calls under way at once; one more is left out until the next text. */
const MAX_CALLS = 32;
/** So long an answer waits for a preview's call that is under way: to be sure of their order it must. Then it is a message of its own. */
const ANSWER_WAITS_MS = 2_000;
/** A channel that said that it cannot is asked again after this long: its gateway may be newer then. */
const UNSUPPORTED_MS = 600_000;
/** After the end of a turn, and as long as something is still to be done about its preview. */
const TIDY_AFTER_MS = 1_000;
const TIDY_AGAIN_MS = 15_000;
const TURN_ID = /^[\w.:-]{1,128}$/;

interface Live {
  readonly turn: string;
  readonly address: Address;
  readonly replyTo: string;
  text: string;
  tool: string;
  /** since when there is something to show, ms since 1970 */
  since: number | undefined;
  sent: string;
  messageId: string | undefined;
  nextAt: number;
  /** when the call under way began, ms since 1970 */
  callingSince: number | undefined;
  /** no further call for this turn */
  closed: boolean;
  /** a call of it may take effect later: the answer must not stand where that could overwrite it */
  doubtful: boolean;
}

export class Previews {
  readonly #deps: PreviewsDeps;
  readonly #live = new Map<string, Live>();
  readonly #unsupported = new Map<string, number>();
  readonly #due: Alarms;
  readonly #untidy: Alarms;
  #calls = 0;

  constructor(deps: PreviewsDeps) {
    this.#deps = deps;
    const { clock, background } = deps;
    this.#due = new Alarms(clock, (session) => background.run('preview', session, (signal) => this.#show(session, signal)));
    this.#untidy = new Alarms(clock, (session) => background.run('tidy-previews', session, (signal) => this.#tidy(session, signal)));
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#due.run(signal), this.#untidy.run(signal)]);
  }

  /** At start, for each session: what an earlier process left standing is looked after. */
  resume(session: string): void {
    const left = rows.open(this.#deps.cells.open(session).inbound);
    if (left.length > 0) this.#untidy.set(session, this.#deps.clock.now() + SETTLE_AFTER_MS);
  }

  /** The session's runner has something new to say of what it writes or does, or is gone. Cheap: no commit, no call. */
  heard(session: string): void {
    const { hub, clock } = this.#deps;
    const partial = hub.partial(session);
    const progress = hub.progress(session);
    const works = progress?.phase === attach.Progress_Phase.TURN || progress?.phase === attach.Progress_Phase.WAITING;
    const turn = partial?.turnId ?? (works ? progress.turnId : '');
    let live = this.#live.get(session);
    if (live !== undefined && live.turn !== turn) {
      this.#end(session, live);
      live = undefined;
    }
    if (!TURN_ID.test(turn)) return;
    const tool =
      works && progress.activity !== 'model' && !waitsForPerson(progress) ? progress.activity.replace(/[^\w.:-]/g, '').slice(0, 64) : '';
    if (partial === undefined && tool === '' && live === undefined) return;
    live ??= this.#begin(session, turn, partial?.inReplyTo);
    if (live === undefined) return;
    live.text = partial?.text ?? '';
    live.tool = tool;
    if (live.closed || this.#bodyOf(session, live) === '') return;
    live.since ??= clock.now();
    this.#arm(session, live);
  }

  /**
   * What the answer of this turn is to replace: the platform's id of its preview. 'busy': a call is under way, ask again in a moment.
   * undefined: nothing. Inside the transaction that claims the answer.
   */
  take(cell: Pick<Cell, 'session' | 'inbound'>, turn: string, lane: string): string | 'busy' | undefined {
    const now = this.#deps.clock.now();
    const live = this.#live.get(cell.session);
    const mine = live?.turn === turn && laneOf(live.address) === lane ? live : undefined;
    if (mine?.callingSince !== undefined) {
      if (now - mine.callingSince < ANSWER_WAITS_MS) return 'busy';
      mine.doubtful = true;
    }
    if (mine !== undefined) mine.closed = true;
    const row = rows.find(cell.inbound, turn);
    // Most answers have none, and are sent as ever.
    if (row?.state !== 'shown' || mine?.doubtful === true || laneOf(row) !== lane) return undefined;
    return row.platform_message_id ?? undefined;
  }

  #begin(session: string, turn: string, inReplyTo: number | undefined): Live | undefined {
    const { cells, agentGroups, destinations, clock } = this.#deps;
    if (!cells.has(session)) return undefined;
    const cell = cells.open(session);
    if (agentGroups.get(cell.meta.agent_group)?.spec.chat.streaming !== true) return undefined;
    const found = answeredChat(cell, inReplyTo ?? askedSeq(cell), destinations, clock.now());
    if (found === undefined || (this.#unsupported.get(found.channel) ?? 0) > clock.now()) return undefined;
    const { replyToMessageId: replyTo, ...address } = found;
    const live: Live = {
      turn,
      address,
      replyTo,
      text: '',
      tool: '',
      since: undefined,
      sent: '',
      messageId: undefined,
      nextAt: 0,
      callingSince: undefined,
      closed: false,
      doubtful: false,
    };
    this.#live.set(session, live);
    return live;
  }

  #end(session: string, live: Live): void {
    live.closed = true;
    this.#live.delete(session);
    this.#due.set(session, undefined);
    // An answer that never made one leaves nothing to look after.
    if (live.sent !== '' || live.callingSince !== undefined) this.#untidy.set(session, this.#deps.clock.now() + TIDY_AFTER_MS);
  }

  #bodyOf(session: string, { text, tool }: Live): string {
    const { cells, agentGroups } = this.#deps;
    const line =
      tool !== '' && agentGroups.get(cells.open(session).meta.agent_group)?.spec.chat.toolLine === true ? `_using ${tool} …_` : '';
    return [text, line].filter((part) => part !== '').join('\n\n');
  }

  #arm(session: string, live: Live): void {
    if (live.closed || live.callingSince !== undefined || live.since === undefined) return;
    this.#due.set(session, Math.max(live.since + PREVIEW_AFTER_MS, live.nextAt));
  }

  async #show(session: string, signal: AbortSignal): Promise<void> {
    const { clock, limiter, calls, cells, reached } = this.#deps;
    const live = this.#live.get(session);
    if (live === undefined || live.closed || live.callingSince !== undefined || !cells.has(session)) return;
    const text = this.#bodyOf(session, live);
    if (text === '' || text === live.sent) return;
    const { channel, chat, thread } = live.address;
    // Only what the platform has to spare: an answer never waits for leave that a preview took.
    if (this.#calls >= MAX_CALLS || !limiter.tryEnterSpare(channel, chat)) {
      live.nextAt = clock.now() + EVERY_MS;
      this.#arm(session, live);
      return;
    }
    if (live.messageId === undefined && !this.#startRow(session, live)) return;
    live.callingSince = clock.now();
    this.#calls += 1;
    let outcome: PreviewOutcome;
    try {
      reached('delivery/after-posting-before-preview');
      const messageId = live.messageId ?? '';
      const idempotencyKey = previewKey(session, live.turn);
      const replyToMessageId = live.replyTo;
      outcome = await calls.preview({ channel, chat, thread: thread ?? '', replyToMessageId, messageId, text, idempotencyKey }, signal);
      reached('delivery/after-preview-before-record');
    } finally {
      this.#calls -= 1;
      live.callingSince = undefined;
    }
    live.sent = text;
    this.#record(session, live, outcome);
    if (this.#live.get(session) === live) this.#arm(session, live);
    else this.#untidy.set(session, clock.now() + TIDY_AFTER_MS);
  }

  /** Durable before the first call. False: there is, or was, one of this turn that is not ours to go on with. */
  #startRow(session: string, live: Live): boolean {
    const { cells, clock } = this.#deps;
    const { inbound } = cells.open(session);
    const known = rows.find(inbound, live.turn);
    if (known === undefined) {
      const now = clock.now();
      const write = (): void => {
        rows.posting(inbound, live.turn, live.address, now);
        rows.forget(inbound, now - GIVE_UP_MS);
      };
      inbound.transaction(write).immediate();
      return true;
    }
    // Of an earlier process of ours, in the middle of the same turn.
    if (known.state === 'shown' && laneOf(known) === laneOf(live.address)) live.messageId = known.platform_message_id ?? undefined;
    if (live.messageId === undefined) live.closed = true;
    return live.messageId !== undefined;
  }

  #record(session: string, live: Live, outcome: PreviewOutcome): void {
    const { cells, clock, log, outcomes } = this.#deps;
    if (!cells.has(session)) return;
    const { inbound } = cells.open(session);
    const now = clock.now();
    const commit = (work: () => void): void => inbound.transaction(work).immediate();
    switch (outcome.type) {
      case 'shown':
        outcomes.inc({ outcome: live.messageId === undefined ? 'shown' : 'changed' });
        if (live.messageId === undefined) commit(() => rows.shown(inbound, live.turn, outcome.messageId, now));
        live.messageId = outcome.messageId;
        live.nextAt = now + (outcome.nextAfterMs > 0 ? outcome.nextAfterMs : EVERY_MS);
        return;
      case 'unsupported':
        this.#unsupported.set(live.address.channel, now + UNSUPPORTED_MS);
        live.closed = true;
        commit(() => rows.over(inbound, live.turn, 'gone', now));
        return;
      case 'gone':
        live.closed = true;
        commit(() => rows.over(inbound, live.turn, 'gone', now));
        return;
      case 'failed': {
        outcomes.inc({ outcome: 'failed' });
        log.info({ session, turn: live.turn, reason: outcome.message }, 'preview of an answer was not shown');
        live.nextAt = now + Math.max(outcome.afterMs, AGAIN_MS);
        if (live.messageId === undefined) {
          live.closed = true; // the answer will be there before it is worth another try
          if (!outcome.maybe) commit(() => rows.over(inbound, live.turn, 'gone', now));
        } else if (outcome.maybe) {
          live.closed = true;
          live.doubtful = true;
        }
      }
    }
  }

  /** Removes previews whose turn ended without an answer in their place, and finds out about those of which nobody knows. */
  async #tidy(session: string, signal: AbortSignal): Promise<void> {
    const { cells, clock } = this.#deps;
    if (!cells.has(session)) return;
    let again = false;
    for (const row of rows.open(cells.open(session).inbound)) {
      if (this.#live.get(session)?.turn === row.turn_id) again ||= row.state === 'posting';
      else again = !(await tidyPreview(this.#deps, session, row, signal)) || again;
      if (signal.aborted) return;
    }
    if (again) this.#untidy.set(session, clock.now() + TIDY_AGAIN_MS);
  }
}
