import { z } from 'zod';
import type { AgentData } from '../agent-data/agent-data.ts';
import { escapeAttribute } from '../prompts/escape.ts';
import { askDelivery } from './ask-delivery.ts';
import { elsewhere } from './elsewhere.ts';
import { showMoment } from './moment.ts';
import { defineTool, type Tool } from './tool.ts';

export function listSessions(data: AgentData): Tool {
  return defineTool({
    name: 'list_sessions',
    description:
      'Lists your conversations, this one and the others, newest activity first: id, type, platform, place, title, number of messages. ' +
      'Use an id with search_messages to read what was said there.',
    input: z.object({
      type: z.enum(['chat', 'task', 'schedule', 'heartbeat']).optional().describe('Only conversations of this type.'),
      platform: z.string().max(64).optional().describe('Only those on this platform, such as slack or telegram.'),
      limit: z.int().min(1).max(200).optional().describe('How many, 20 when absent.'),
    }),
    permission: 'always',
    repeatable: true,
    async run({ type = '', platform = '', limit = 0 }, { signal }) {
      const { sessions, unseenShards } = await askDelivery(() => data.listSessions({ type, channelType: platform, limit }, signal));
      const rest = elsewhere(unseenShards, 'looked at');
      if (sessions.length === 0) return ['No conversation matches.', ...rest].join('\n');
      const lines = sessions.map(({ session, type: kind, title, place, lastActivityMs, messages, own }) =>
        [
          `${session}${own ? ' (this one)' : ''}`,
          kind,
          place,
          ...(title === '' ? [] : [escapeAttribute(title)]),
          `${messages} messages`,
          `last ${showMoment(lastActivityMs)}`,
        ].join(', '),
      );
      return [...lines, ...rest].join('\n');
    },
  });
}
