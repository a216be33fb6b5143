import { createHash } from 'node:crypto';
import type { DestinationRow, RoutingRow } from '@dovecote/proto';
import type { Place } from '../inbox/inbox.ts';

/**
 * How the model knows the chat a message came from: the destination's name, `here` for the session's own chat, else a
 * name made from a hash. The platform's own ids never reach the model.
 */
export function placeName(place: Place, destinations: readonly DestinationRow[], routing: RoutingRow | undefined): string {
  const same = (other: Place): boolean =>
    other.channel === place.channel && other.chat === place.chat && (other.thread ?? null) === (place.thread ?? null);
  const named = destinations.find((d) => d.type === 'channel' && same(d));
  if (named !== undefined) return named.name;
  if (routing !== undefined && same(routing)) return 'here';
  const hash = createHash('sha256').update([place.channel, place.chat, place.thread].join('\0')).digest('hex');
  return `chat-${hash.slice(0, 6)}`;
}
