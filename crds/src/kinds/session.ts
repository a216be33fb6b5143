import { z } from 'zod';
import { condition, kind, type ManifestOf, type ResourceOf } from '../kind.ts';
import { frozen, immutable, name, status, text, time } from '../schema.ts';

/** One conversation of one AgentGroup. Delivery creates it and sets awake, people set suspended, the controller writes its status. */
export const Session = kind('Session', 'sessions', {
  description: 'One conversation of one AgentGroup: its cell on a shard and, while awake, its Pod.',
  shortNames: ['sess'],
  // The Pod's name is longer than the Session's and must fit a label value of 63 characters.
  nameMax: 52,
  columns: [
    ['Agent', 'string', '.spec.agentGroupRef'],
    ['Phase', 'string', '.status.phase'],
    ['Awake', 'boolean', '.spec.awake'],
    ['Title', 'string', '.spec.title'],
    ['Chat', 'string', '.spec.chatId', 1],
    ['Reason', 'string', condition('Ready', 'reason'), 1],
  ],
  selectable: ['.spec.agentGroupRef', '.spec.shard', '.spec.awake'],
  spec: frozen(
    z.object({
      agentGroupRef: immutable(name()).describe('Its AgentGroup.'),
      agentGroupUid: immutable(text(64, 1)).describe(
        'The uid of its AgentGroup: one made anew under the same name does not inherit the session.',
      ),
      shard: immutable(text(63, 1)).describe('The shard that holds its cell.'),
      scope: immutable(text(1024, 1)).describe('What it is about: channel/chat, channel/chat/thread, or * for all chats of the agent.'),
      generation: immutable(z.int32().min(1).default(1)).describe('Counts the sessions of one scope: /new begins the next.'),
      type: immutable(z.enum(['Chat', 'Schedule', 'Heartbeat', 'Subagent', 'Api']).default('Chat')).describe('What began it.'),
      title: text(256).optional().describe('A title for people: the first line said in it, until its model has named it. Set by delivery.'),
      channelRef: name().optional().describe('The Channel it began on. For people: scope decides.'),
      chatId: text(512, 1).optional().describe('The chat it began in. For people: scope decides.'),
      thread: text(256, 1).optional().describe('The thread it began in. For people: scope decides.'),
      awake: z.boolean().default(false).describe('Whether it has a Pod. Set by delivery.'),
      suspended: z.boolean().default(false).describe('Keeps it asleep whatever arrives. Set by people.'),
    }),
    'channelRef',
    'chatId',
    'thread',
  ),
  status: status({
    phase: z
      .enum(['Asleep', 'Waking', 'Awake', 'Draining', 'Suspended', 'Failed'])
      .optional()
      .describe('Where it is, in one word. Conditions say why.'),
    podName: text(253).optional().describe('The name of its Pod.'),
    podUid: text(64).optional().describe('The uid of its Pod.'),
    restarts: z.int32().min(0).optional().describe('How often its Pod had to be started again since it last woke.'),
    lastExit: z
      .object({
        reason: text(64).describe('Why its last Pod ended, as one word for programs.'),
        message: text(1024).optional().describe('Why its last Pod ended, as a sentence for people.'),
        exitCode: z.int32().optional().describe('The exit code of the runner.'),
        at: time().describe('When its last Pod ended.'),
      })
      .optional()
      .describe('How its last Pod ended, unless it was put to sleep.'),
    refused: z
      .object({
        template: text(64, 1).describe('A hash of the Pod in which its runner refused to run. Another Pod is tried at once.'),
        tries: z.int32().min(1).describe('How often such a Pod was tried.'),
        retryAt: time().describe('When such a Pod is tried again.'),
      })
      .optional()
      .describe('Why it has no Pod although it should be awake: its runner refuses to run in it.'),
  }),
});
export type Session = ResourceOf<typeof Session>;
export type SessionManifest = ManifestOf<typeof Session>;
export type SessionSpec = z.infer<typeof Session.spec>;
export type SessionSpecInput = z.input<typeof Session.spec>;
export type SessionStatus = z.infer<typeof Session.status>;
