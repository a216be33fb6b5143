import type { Clock } from '../../lib/clock.ts';
import type { AttachHub } from '../attach/hub.ts';
import type { Cells } from '../cells/cells.ts';
import { answeredChat, type Destinations } from '../outbox/address.ts';
import type { Writing } from './watch.ts';

export interface WritingDeps {
  readonly hub: Pick<AttachHub, 'partial'>;
  readonly cells: Pick<Cells, 'has' | 'open'>;
  readonly destinations: Destinations;
  readonly clock: Clock;
}

/** The answer that a session writes just now, and the chat that will get it. */
export function writingOf({ hub, cells, destinations, clock }: WritingDeps, session: string): Writing | undefined {
  const found = hub.partial(session);
  if (found === undefined || !cells.has(session)) return undefined;
  const chat = answeredChat(cells.open(session), found.inReplyTo, destinations, clock.now());
  return chat && { turn: found.turnId, text: found.text, channel: chat.channel, chat: chat.chat };
}
