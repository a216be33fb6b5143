import type { ChannelInfo } from '../channel.ts';

export const INFO: ChannelInfo = {
  type: 'telegram',
  terminology: { chat: 'chat', thread: 'topic', account: 'bot' },
  howToFindIds:
    'Write to the bot and look at `dovecote why`: the refused message shows the ids of its chat and its sender. Groups have negative ids.',
  supports: { threads: true, edits: true, reactions: true, files: true, buttons: true, typing: true },
  defaultIsolation: 'Shared',
  ackBudgetMs: 20_000,
};
