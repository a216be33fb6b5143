import { z } from 'zod';
import { ENGAGE_PATTERN } from '../engage-pattern.ts';
import { condition, kind, type ManifestOf, type ResourceOf } from '../kind.ts';
import { cel, frozen, immutable, listMap, NAME_MAX, name, set, status, text } from '../schema.ts';

const SHARED_SYNTAX = `self.matches(${JSON.stringify(ENGAGE_PATTERN)})`;
const Pattern = cel(
  text(512, 1),
  {
    rule: SHARED_SYNTAX,
    message: 'may only use what RE2 and JavaScript share: literals, escapes, [classes], (groups), (?i), alternatives and counts up to 999',
  },
  {
    // A bad expression makes matches() fail, and a failing rule refuses the object with the reason of the failure.
    rule: `!${SHARED_SYNTAX} || ''.matches(self) || !''.matches(self)`,
    message: 'must be a valid regular expression (RE2)',
  },
);

const Engage = cel(
  z.object({
    mode: z
      .enum(['Always', 'Mention', 'MentionSticky', 'Pattern'])
      .default('Mention')
      .describe('On every message, on a mention, on a mention and what follows it in the thread, or on a match of the pattern.'),
    pattern: Pattern.optional().describe('A regular expression that a message must match somewhere.'),
  }),
  {
    rule: "self.mode != 'Pattern' || has(self.pattern)",
    message: "must be set when mode is 'Pattern'",
    fieldPath: '.pattern',
    reason: 'FieldValueRequired',
  },
  {
    rule: "self.mode == 'Pattern' || !has(self.pattern)",
    message: "may only be set when mode is 'Pattern'",
    messageExpression: `"may only be set when mode is 'Pattern', not '" + self.mode + "'"`,
    fieldPath: '.pattern',
    reason: 'FieldValueForbidden',
  },
);

const Wiring = z.object({
  agentGroupRef: name().describe('The AgentGroup that hears this chat.'),
  engage: Engage.prefault({}).describe('Which messages wake it.'),
  sessionMode: z
    .enum(['Shared', 'PerThread', 'AgentShared'])
    .default('Shared')
    .describe('One session for the chat, one for each thread, or one for all chats of the agent.'),
  priority: z.int32().min(0).max(1000).default(0).describe('Which agent comes first when several engage: the higher one.'),
  ignored: z
    .enum(['Drop', 'Accumulate'])
    .default('Drop')
    .describe('Whether messages that do not engage it are dropped, or kept as context for the next one.'),
  senderScope: z
    .enum(['All', 'Known'])
    .default('All')
    .describe('Who may reach this agent here: everyone let into the chat, or known senders only.'),
});

/** One chat on a Channel, or a class of chats, wired to agents. */
export const MessagingGroup = kind('MessagingGroup', 'messaginggroups', {
  description: 'One chat on a Channel, or a class of chats, wired to agents. The most specific MessagingGroup wins.',
  shortNames: ['mg'],
  nameMax: NAME_MAX,
  columns: [
    ['Channel', 'string', '.spec.channelRef'],
    ['Chat', 'string', '.spec.chatId'],
    ['Class', 'string', '.spec.chatClass'],
    ['Agents', 'string', '.status.agents'],
    ['Ready', 'string', condition('Ready')],
    ['Reason', 'string', condition('Ready', 'reason'), 1],
  ],
  selectable: ['.spec.channelRef', '.spec.chatId'],
  spec: cel(
    frozen(
      z.object({
        channelRef: immutable(name()).describe('The Channel.'),
        chatId: text(512, 1).optional().describe("One chat, by the platform's id. Either this or chatClass."),
        chatClass: z
          .enum(['Direct', 'Group', 'Any'])
          .optional()
          .describe('All direct chats, all groups, or every chat. Either this or chatId.'),
        displayName: text(256).optional().describe('What people see.'),
        agents: listMap(Wiring, ['agentGroupRef'], 16).default([]).describe('The agents that hear this chat, and how.'),
        unknownSenders: z.enum(['Strict', 'Public']).default('Strict').describe('Whether people who are not known are refused or let in.'),
        knownSenders: set(text(256, 1), 1000).optional().describe("The platform's ids of the people who are known here."),
      }),
      'chatId',
      'chatClass',
    ),
    { rule: 'has(self.chatId) != has(self.chatClass)', message: 'exactly one of chatId and chatClass must be set' },
  ),
  status: status({
    agents: text(1024).optional().describe('The agents in one line, in the order in which they are asked.'),
    wired: z.int32().min(0).optional().describe('How many of its agents exist.'),
  }),
});
export type MessagingGroup = ResourceOf<typeof MessagingGroup>;
export type MessagingGroupManifest = ManifestOf<typeof MessagingGroup>;
export type MessagingGroupSpec = z.infer<typeof MessagingGroup.spec>;
export type MessagingGroupSpecInput = z.input<typeof MessagingGroup.spec>;
export type MessagingGroupStatus = z.infer<typeof MessagingGroup.status>;
/** One agent of a MessagingGroup and how it hears the chat. */
export type Wiring = MessagingGroupSpec['agents'][number];
