/** The controller's part of Channel.status: Connected, account and path are the gateway's. Pure. */
import { type ChannelStatus, ConditionType, Reason } from '@dovecote/crds';
import { type Draft, withConditions } from '../conditions.ts';
import type { Observed } from './observe.ts';

/** What people must do something about; a connection that was lost comes back by itself. */
const NEEDS_PEOPLE: ReadonlySet<string> = new Set([Reason.Unauthorized, Reason.Conflict, Reason.Invalid]);

export function statusOf({ channel, credentials, connected, now }: Observed): ChannelStatus {
  const found: Draft | undefined = credentials === undefined ? undefined : { type: ConditionType.CredentialsFound, ...credentials };
  return withConditions({}, [readyOf(found, connected), ...(found === undefined ? [] : [found])], {
    before: channel.status,
    generation: channel.metadata.generation,
    now,
  });
}

function readyOf(found: Draft | undefined, connected: Observed['connected']): Draft {
  const type = ConditionType.Ready;
  if (found !== undefined && found.status !== 'True') return { ...found, type };
  if (connected?.status === 'False' && NEEDS_PEOPLE.has(connected.reason)) {
    return { type, status: 'False', reason: connected.reason, message: connected.message };
  }
  return { type, status: 'True', reason: Reason.Accepted, message: 'It can be used.' };
}
