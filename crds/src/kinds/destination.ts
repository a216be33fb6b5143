import { z } from 'zod';
import { condition, kind, type ManifestOf, type ResourceOf } from '../kind.ts';
import { immutable, NAME_MAX, name, pattern, status, text, union } from '../schema.ts';

const Target = union(
  z.object({
    type: z.enum(['channel', 'agent']).describe('Whether it is a chat or another agent.'),
    channel: z
      .object({
        channelRef: name().describe('The Channel.'),
        chatId: text(512, 1).describe("The chat, by the platform's id."),
        thread: text(256, 1).optional().describe("The thread in the chat, by the platform's id; the chat itself when absent."),
      })
      .optional()
      .describe('A chat.'),
    agent: z
      .object({ agentGroupRef: name().describe('The AgentGroup.') })
      .optional()
      .describe('Another agent.'),
  }),
  'type',
  ['channel', 'agent'],
);

/** A local name by which an AgentGroup may send; its existence is the permission. */
export const Destination = kind('Destination', 'destinations', {
  description: 'A local name by which an AgentGroup may send to a chat or to another agent. Its existence is the permission.',
  shortNames: ['dest'],
  nameMax: NAME_MAX,
  columns: [
    ['Agent', 'string', '.spec.agentGroupRef'],
    ['Name', 'string', '.spec.localName'],
    ['Type', 'string', '.spec.target.type'],
    ['Ready', 'string', condition('Ready')],
    ['Reason', 'string', condition('Ready', 'reason'), 1],
  ],
  selectable: ['.spec.agentGroupRef'],
  spec: z.object({
    agentGroupRef: immutable(name()).describe('The AgentGroup that may send.'),
    localName: pattern(/^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$/, 64).describe('What the agent calls it.'),
    target: Target.describe('Where it leads.'),
  }),
  status: status({}),
});
export type Destination = ResourceOf<typeof Destination>;
export type DestinationManifest = ManifestOf<typeof Destination>;
export type DestinationSpec = z.infer<typeof Destination.spec>;
export type DestinationSpecInput = z.input<typeof Destination.spec>;
export type DestinationStatus = z.infer<typeof Destination.status>;
