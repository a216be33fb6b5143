import type { ChannelType } from './channel.ts';
import { local } from './local/local.ts';
import { slack } from './slack/slack.ts';
import { telegram } from './telegram/telegram.ts';

/** Every platform, by Channel.spec.type. A new one is a folder and a line here. */
export const channelTypes: Readonly<Record<string, ChannelType>> = { local, slack, telegram };
