/** While a turn runs, its chat shows that somebody types: at once when it begins, again before the platform lets it fade. Best effort. */
import type { Channel } from '@dovecote/crds';
import { attach } from '@dovecote/proto';
import type { Clock } from '../../lib/clock.ts';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { AttachHub } from '../attach/hub.ts';
import type { Background } from '../background.ts';
import type { Cells } from '../cells/cells.ts';
import { type Address, answeredChat, type Channels, type Destinations, laneOf } from '../outbox/address.ts';
import { Alarms } from '../outbox/alarms.ts';
import { askedSeq } from './asked-chat.ts';
import type { PreviewCalls } from './preview-calls.ts';
import { waitsForPerson } from './waits-for-person.ts';

export interface TypingDeps {
  readonly cells: Pick<Cells, 'open' | 'has'>;
  readonly hub: Pick<AttachHub, 'progress'>;
  readonly channels: Channels;
  readonly destinations: Destinations;
  readonly calls: Pick<PreviewCalls, 'typing'>;
  readonly background: Background;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often each platform must be told, ms. undefined: it has no such thing for apps, or those who watch see more than that. */
const EVERY_MS: Readonly<Record<Channel['spec']['type'], number | undefined>> = {
  local: undefined,
  slack: undefined,
  // sendChatAction: "the status is set for 5 seconds or less".
  telegram: 4_000,
};

interface Typing {
  readonly turn: string;
  readonly address: Address;
  /** undefined: nothing is to be told there, and nothing looked up again in this turn */
  readonly everyMs: number | undefined;
  /** Until the turn goes on: behind a message of it that was delivered, and while it waits for a person. */
  paused: boolean;
  calling: boolean;
}

export class TypingIndicator {
  readonly #deps: TypingDeps;
  readonly #typing = new Map<string, Typing>();
  readonly #due: Alarms;

  constructor(deps: TypingDeps) {
    this.#deps = deps;
    const { clock, background } = deps;
    this.#due = new Alarms(clock, (session) => background.run('typing', session, (signal) => this.#tell(session, signal)));
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#due.run(signal);
  }

  /** The session's runner has said what it does, or is gone. */
  heard(session: string): void {
    const { hub, clock } = this.#deps;
    const progress = hub.progress(session);
    const works = progress?.phase === attach.Progress_Phase.TURN || progress?.phase === attach.Progress_Phase.WAITING;
    const known = this.#typing.get(session);
    if (!works || (known !== undefined && known.turn !== progress.turnId)) this.#stop(session);
    if (!works) return;
    const typing = this.#typing.get(session);
    if (typing !== undefined && typing.everyMs === undefined) return;
    if (waitsForPerson(progress)) {
      if (typing !== undefined) this.#pause(session, typing);
    } else if (typing === undefined) this.#start(session, progress.turnId);
    else if (typing.paused) {
      typing.paused = false;
      this.#due.set(session, clock.now());
    }
  }

  /** A message of the session was delivered there. */
  delivered(session: string, lane: string): void {
    const typing = this.#typing.get(session);
    if (typing !== undefined && laneOf(typing.address) === lane) this.#pause(session, typing);
  }

  #pause(session: string, typing: Typing): void {
    typing.paused = true;
    this.#due.set(session, undefined);
  }

  #start(session: string, turn: string): void {
    const { cells, channels, destinations, clock } = this.#deps;
    if (!cells.has(session)) return;
    const cell = cells.open(session);
    const address = answeredChat(cell, askedSeq(cell), destinations, clock.now());
    const type = address && channels.get(address.channel)?.spec.type;
    if (address === undefined || type === undefined) return;
    const everyMs = EVERY_MS[type];
    this.#typing.set(session, { turn, address, everyMs, paused: false, calling: false });
    if (everyMs !== undefined) this.#due.set(session, clock.now());
  }

  #stop(session: string): void {
    if (this.#typing.delete(session)) this.#due.set(session, undefined);
  }

  async #tell(session: string, signal: AbortSignal): Promise<void> {
    const typing = this.#typing.get(session);
    if (typing?.everyMs === undefined || typing.paused) return;
    this.#due.set(session, this.#deps.clock.now() + typing.everyMs);
    if (typing.calling) return; // a platform that hangs is not asked twice
    typing.calling = true;
    const { channel, chat, thread } = typing.address;
    try {
      await this.#deps.calls.typing({ channel, chat, thread: thread ?? '' }, signal);
    } catch (thrown) {
      this.#deps.log.debug({ session, err: toError(thrown) }, 'typing was not shown');
    } finally {
      typing.calling = false;
    }
  }
}
