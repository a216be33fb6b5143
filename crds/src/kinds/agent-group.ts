import { z } from 'zod';
import { condition, kind, type ManifestOf, type ResourceOf } from '../kind.ts';
import {
  byteSize,
  dict,
  durationBetween,
  httpUrl,
  kubeName,
  NAME_MAX,
  pattern,
  quantity,
  secretRef,
  set,
  status,
  text,
  union,
} from '../schema.ts';

const amounts = () =>
  z.object({
    cpu: quantity().optional().describe('Processor time, such as 500m or 2.'),
    memory: quantity().optional().describe('Memory, such as 512Mi.'),
    'ephemeral-storage': quantity().optional().describe('Disk of the Pod itself, which is not the volume of the session.'),
  });

const Provider = union(
  z.object({
    type: z
      .enum(['anthropic', 'demo'])
      .describe('Who answers: anthropic (the Messages API) or demo (offline, deterministic, needs no key).'),
    anthropic: z
      .object({
        baseURL: httpUrl().optional().describe('The API that the proxy talks to; the public one when absent. Pods never see it.'),
        credentialsRef: secretRef('api-key').describe('Where the proxy finds the API key. Pods never see it.'),
      })
      .optional()
      .describe('The Anthropic Messages API, or one that speaks like it.'),
    demo: z.object({}).optional().describe('The built-in demo provider, which has no settings.'),
  }),
  'type',
  ['anthropic', 'demo'],
  ['anthropic'],
);

const Limits = z.object({
  maxAwake: z
    .int32()
    .min(1)
    .max(1000)
    .default(20)
    .describe('How many of its sessions may be awake at once; further ones wait in a fair queue.'),
  maxSteps: z.int32().min(1).max(1000).default(50).describe('How many model calls one turn may make.'),
  turnTimeout: durationBetween('100ms', '24h').default('30m').describe('The longest a turn may take.'),
  noProgressTimeout: durationBetween('100ms', '24h')
    .default('120s')
    .describe('A turn that shows no progress for this long is cancelled and tried again. A tool with a declared deadline has until then.'),
  storage: byteSize().default('1Gi').describe('How much one session may store.'),
  agentStorage: byteSize().optional().describe('How much the folder that all its sessions share may store. Unlimited when absent.'),
});

/** One agent: its model provider, instructions, tools and limits. */
export const AgentGroup = kind('AgentGroup', 'agentgroups', {
  description: 'One agent: its model provider, instructions, tools and limits. Each of its conversations is a Session.',
  shortNames: ['ag'],
  nameMax: NAME_MAX,
  columns: [
    ['Provider', 'string', '.spec.provider.type'],
    ['Model', 'string', '.spec.model'],
    ['Awake', 'integer', '.status.awakeSessions'],
    ['Ready', 'string', condition('Ready')],
    ['Reason', 'string', condition('Ready', 'reason'), 1],
  ],
  selectable: ['.spec.provider.type'],
  spec: z.object({
    displayName: text(256).optional().describe('What people see; the object name when absent.'),
    provider: Provider.describe('The model provider and how to reach it.'),
    model: text(128, 1).optional().describe('The model, as the provider names it; the default of the provider when absent.'),
    effort: z.enum(['low', 'medium', 'high', 'max']).default('medium').describe('How hard the model thinks.'),
    instructions: text(65536).optional().describe('The standing instructions of every session of this agent.'),
    tools: set(text(128, 1), 128).optional().describe('The tools it may use; all of them when absent.'),
    limits: Limits.prefault({}).describe('What it may take.'),
    idleTimeout: durationBetween('1s', '168h').default('10m').describe('A session that is idle for this long falls asleep.'),
    shards: z
      .object({
        count: z
          .int32()
          .min(1)
          .max(64)
          .default(1)
          .describe('How many shards its sessions spread over. The first is the home of its shared folder.'),
      })
      .prefault({})
      .describe('Where its sessions are stored.'),
    resources: z
      .object({
        requests: amounts().optional().describe('What the scheduler reserves.'),
        limits: amounts().optional().describe('What the Pod may not exceed.'),
      })
      .optional()
      .describe("What a session's Pod gets; the operator's default when absent."),
    image: text(512, 1).optional().describe("The runner image; the operator's default when absent."),
    runtimeClassName: kubeName()
      .optional()
      .describe('The runtime class of its Pods. One with a kernel of its own (gVisor, Kata) is refused with a condition.'),
    podLabels: dict(
      pattern(/^[A-Za-z0-9]([-A-Za-z0-9._/]*[A-Za-z0-9])?$/, 317),
      pattern(/^([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?)?$/, 63, 0),
      32,
    )
      .optional()
      .describe('Labels for its Pods, beside our own.'),
  }),
  status: status({
    shards: set(text(63, 1), 64).optional().describe('The shards its sessions are on; the first assigned is the home shard.'),
    awakeSessions: z.int32().min(0).optional().describe('How many of its sessions are awake.'),
    sessions: z.int32().min(0).optional().describe('How many sessions it has.'),
  }),
});
export type AgentGroup = ResourceOf<typeof AgentGroup>;
export type AgentGroupManifest = ManifestOf<typeof AgentGroup>;
export type AgentGroupSpec = z.infer<typeof AgentGroup.spec>;
export type AgentGroupSpecInput = z.input<typeof AgentGroup.spec>;
export type AgentGroupStatus = z.infer<typeof AgentGroup.status>;
