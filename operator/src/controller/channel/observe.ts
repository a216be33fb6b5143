import { type Channel, type ChannelSpec, type Condition, ConditionType } from '@dovecote/crds';
import type { ResourceStore } from '../../kube/store.ts';
import { type Credentials, checkCredentials, type Wanted } from '../credentials.ts';
import type { OwnWrites } from '../own-writes.ts';

export interface Sight {
  readonly store: ResourceStore;
  readonly own: OwnWrites<Channel>;
  readonly clock: { now(): number };
}

export interface Observed {
  readonly channel: Channel;
  /** undefined: its type needs none. */
  readonly credentials: Credentials | undefined;
  /** The gateway's own condition on the same status, if it has tried. */
  readonly connected: Condition | undefined;
  readonly now: number;
}

export async function observe(name: string, { store, own, clock }: Sight, signal: AbortSignal): Promise<Observed | undefined> {
  const channel = own.get(name);
  if (channel === undefined) return undefined;
  const wanted = wantedCredentials(channel.spec);
  return {
    channel,
    credentials: wanted === undefined ? undefined : await checkCredentials(store, wanted, signal),
    connected: channel.status?.conditions?.find(({ type }) => type === ConditionType.Connected),
    now: clock.now(),
  };
}

/** Which keys of which Secret a Channel needs; undefined for the local one. */
export function wantedCredentials({ slack, telegram }: Pick<ChannelSpec, 'slack' | 'telegram'>): Wanted | undefined {
  if (slack !== undefined) {
    return { secret: slack.credentialsRef.name, keys: ['bot-token', slack.mode === 'Socket' ? 'app-token' : 'signing-secret'] };
  }
  if (telegram !== undefined) {
    return { secret: telegram.credentialsRef.name, keys: telegram.mode === 'Webhook' ? ['bot-token', 'webhook-secret'] : ['bot-token'] };
  }
  return undefined;
}
