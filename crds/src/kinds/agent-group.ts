import { z } from 'zod';
import { condition, kind, type ManifestOf, type ResourceOf } from '../kind.ts';
import {
  byteSize,
  cel,
  dict,
  durationBetween,
  httpUrl,
  kubeName,
  list,
  listMap,
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
  jobTime: durationBetween('0s', '24h')
    .default('1h')
    .describe('How long background jobs that have a deadline may keep a session awake in which nothing else happens.'),
  storage: byteSize().default('1Gi').describe('How much one session may store.'),
  agentStorage: byteSize().optional().describe('How much the folder that all its sessions share may store. Unlimited when absent.'),
});

const McpServer = union(
  z.object({
    name: pattern(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 32).describe('Its name; its tools are called mcp__<name>__<tool>.'),
    type: z.enum(['stdio', 'http']).describe('stdio: a program in the Pod. http: a server that the proxy reaches (streamable HTTP).'),
    stdio: z
      .object({
        command: list(text(4096, 1), 64).min(1).describe('The program and its arguments.'),
        env: dict(pattern(/^[A-Za-z_][A-Za-z0-9_]*$/, 128), text(4096), 64)
          .optional()
          .describe('Its environment. Everything in a Pod can be read by the agent: no credentials here.'),
      })
      .optional()
      .describe('A program that the runner starts and supervises.'),
    http: z
      .object({
        url: httpUrl().describe('Where the proxy finds it. Pods never see it.'),
        headers: listMap(
          z.object({
            name: pattern(/^[A-Za-z0-9][-A-Za-z0-9]*$/, 128).describe('The header.'),
            prefix: text(64).optional().describe('What stands before the value, such as "Bearer ".'),
            secretRef: secretRef('token').describe('Where the proxy finds the value. Pods never see it.'),
          }),
          ['name'],
          16,
        )
          .optional()
          .describe('Headers that the proxy adds to each request.'),
      })
      .optional()
      .describe('A server elsewhere.'),
    tools: set(text(128, 1), 128).optional().describe('Which of its tools the agent may use; all of them when absent.'),
    timeout: durationBetween('1s', '1h').default('60s').describe('The longest one call may take without a sign of progress.'),
  }),
  'type',
  ['stdio', 'http'],
);

const Budget = cel(
  z.object({
    period: z.enum(['Day', 'Week', 'Month']).default('Month').describe('When it begins anew: at midnight UTC, on Monday, on the first.'),
    tokens: z.int().min(1).optional().describe('Tokens of every kind that all its sessions together may use in a period.'),
    cost: pattern(/^[0-9]{1,9}([.][0-9]{1,4})?$/, 16)
      .optional()
      .describe('What they may cost in a period, in the currency of the prices.'),
    prices: list(
      z.object({
        model: text(128, 1).describe('The model, or the beginning of its name.'),
        input: pattern(/^[0-9]{1,9}([.][0-9]{1,6})?$/, 18).describe('For a million tokens read.'),
        output: pattern(/^[0-9]{1,9}([.][0-9]{1,6})?$/, 18).describe('For a million tokens written.'),
        cacheRead: pattern(/^[0-9]{1,9}([.][0-9]{1,6})?$/, 18)
          .optional()
          .describe('For a million tokens read from the cache; the price of input when absent.'),
        cacheWrite: pattern(/^[0-9]{1,9}([.][0-9]{1,6})?$/, 18)
          .optional()
          .describe('For a million tokens written to the cache; the price of input when absent.'),
      }),
      32,
    )
      .optional()
      .describe('What tokens cost. The longest model name that fits counts; a model without a price costs nothing.'),
  }),
  {
    rule: 'has(self.tokens) || has(self.cost)',
    message: 'must limit tokens or cost',
    reason: 'FieldValueRequired',
  },
  {
    rule: '!has(self.cost) || (has(self.prices) && size(self.prices) > 0)',
    message: 'must be set when cost is limited',
    fieldPath: '.prices',
    reason: 'FieldValueRequired',
  },
);

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
    thinking: z
      .enum(['off', 'adaptive'])
      .optional()
      .describe('Whether the model thinks before it answers; as the model does by itself when absent.'),
    instructions: text(65536).optional().describe('The standing instructions of every session of this agent.'),
    tools: set(text(128, 1), 128).optional().describe('The tools it may use; all of them when absent.'),
    mcpServers: listMap(McpServer, ['name'], 32).optional().describe('MCP servers whose tools it may use.'),
    skills: listMap(
      z.object({ configMapRef: kubeName().describe('The name of a ConfigMap with a key SKILL.md, and more files beside it.') }),
      ['configMapRef'],
      64,
    )
      .optional()
      .describe('Skills that its sessions have, read-only at /skills/<ConfigMap>.'),
    egress: z
      .object({
        allowedHosts: set(pattern(/^([*][.])?[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$/, 260), 256)
          .optional()
          .describe('Hosts that its tools may reach: example.com, *.example.com for all below it, with :port for another than 80 and 443.'),
      })
      .optional()
      .describe('What its Pods may reach beside their model. Nothing when absent.'),
    budget: Budget.optional().describe('What it may use. Unlimited when absent.'),
    chat: z
      .object({
        streaming: z.boolean().default(true).describe('Answers appear while they are written, where the platform can change a message.'),
        toolLine: z.boolean().default(true).describe('A line tells which tool it uses.'),
      })
      .prefault({})
      .describe('How its work is shown.'),
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
