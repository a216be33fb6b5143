import type { ChannelInfo, ChannelType } from './channel.ts';
import { local } from './local/local.ts';
import { INFO as SLACK } from './slack/info.ts';
import { INFO as TELEGRAM } from './telegram/info.ts';

/** Every platform, by Channel.spec.type. A new one is a folder and a line here. */
export const channelTypes: Readonly<Record<string, ChannelType>> = {
  local,
  slack: whenUsed(SLACK, async () => (await import('./slack/slack.ts')).slack),
  telegram: whenUsed(TELEGRAM, async () => (await import('./telegram/telegram.ts')).telegram),
};

/** A platform's library is loaded for the first Channel of its type: without one it takes neither memory nor time at the start. */
function whenUsed(info: ChannelInfo, load: () => Promise<ChannelType>): ChannelType {
  return { info, connect: async (options, signal) => (await load()).connect(options, signal) };
}
