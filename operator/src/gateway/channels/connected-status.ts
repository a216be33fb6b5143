import { type Channel, ConditionType, Reason } from '@dovecote/crds';
import { TerminalError } from '../../lib/errors.ts';

/** How a Channel is, as its owner sees it. */
export type Health =
  | { readonly type: 'connecting' }
  /** `pending`: why a newer spec or Secret is not in use yet. */
  | { readonly type: 'connected'; readonly account: string; readonly since: number; readonly pending?: Error }
  | { readonly type: 'broken'; readonly error: Error };

/** The gateway's part of Channel.status: everything that its field manager owns, each time. Pure. */
export function connectedStatus(channel: Channel, health: Health, webhook: boolean, now: number): object {
  const condition = conditionOf(health);
  const known = channel.status?.conditions?.find((c) => c.type === ConditionType.Connected);
  const lastTransitionTime = known?.status === condition.status ? known.lastTransitionTime : time(now);
  return {
    conditions: [{ type: ConditionType.Connected, ...condition, observedGeneration: channel.metadata.generation, lastTransitionTime }],
    ...(webhook && { path: `/channels/${channel.metadata.name}` }),
    ...(health.type === 'connected'
      ? { account: health.account.slice(0, 256), connectedSince: time(health.since) }
      : // Who we are does not change because the platform does not answer.
        channel.status?.account !== undefined && { account: channel.status.account }),
  };
}

function conditionOf(health: Health): { readonly status: 'True' | 'False' | 'Unknown'; readonly reason: Reason; readonly message: string } {
  switch (health.type) {
    case 'connecting':
      return { status: 'Unknown', reason: Reason.Connecting, message: 'the first connection is being made' };
    case 'connected': {
      const pending = health.pending === undefined ? '' : `; the changed spec or Secret is not in use: ${health.pending.message}`;
      return { status: 'True', reason: Reason.Connected, message: clip(`connected as ${health.account}${pending}`) };
    }
    case 'broken': {
      const unauthorized = health.error instanceof TerminalError && health.error.reason === Reason.Unauthorized;
      return { status: 'False', reason: unauthorized ? Reason.Unauthorized : Reason.Disconnected, message: clip(health.error.message) };
    }
  }
}

const clip = (text: string): string => text.slice(0, 4096);
const time = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
