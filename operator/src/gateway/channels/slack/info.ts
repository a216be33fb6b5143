import type { ChannelInfo } from '../channel.ts';

export const INFO: ChannelInfo = {
  type: 'slack',
  terminology: { chat: 'channel', thread: 'thread', account: 'app' },
  howToFindIds:
    'In Slack, open the details of a channel or a profile: the id (C…, D…, U…) stands at the bottom, or under "Copy member ID".',
  supports: { threads: true, edits: true, reactions: true, files: true, buttons: true, typing: false },
  defaultIsolation: 'PerThread',
  // Slack waits three seconds.
  ackBudgetMs: 2_800,
};
