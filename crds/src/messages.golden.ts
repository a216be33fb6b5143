// What the API server says to objects that are wrong, and objects that it takes: data for the tests of admit() and, against a real API server, of the
// CRDs. Taken from kube-apiserver and kubectl 1.34.3. Each rule of each kind has a case here (golden.test.ts counts them).
import { API_VERSION, VERSION } from './kind.ts';

type KindName = 'AgentGroup' | 'Channel' | 'MessagingGroup' | 'Destination' | 'Session';
type Json = Record<string, unknown>;

export interface AdmittedCase {
  name: string;
  kind: KindName;
  /** What is written. */
  object: Json;
  /** What was stored before; absent when the object is created. */
  old?: Json;
  /** Written to the status, not to the object itself. */
  subresource?: 'status';
}
export interface RefusedCase extends AdmittedCase {
  /** What kubectl prints of `create -f` or, when there is an old object, `replace -f`; after "Error from server (BadRequest): error when ...: ". */
  message: string;
}

/** The API server's lines come in an order that changes from run to run: compare them in this form. */
export const sortedLines = (message: string): string => {
  const [head, ...lines] = message.trimEnd().split('\n');
  return [head, ...lines.sort()].join('\n');
};

const object = (kind: KindName, spec: unknown, name = 'x'): Json => ({
  apiVersion: API_VERSION,
  kind,
  metadata: { name, namespace: 'default' },
  spec,
});
const without = (from: Json, field: string): Json => Object.fromEntries(Object.entries(from).filter(([key]) => key !== field));

const DEMO = { provider: { type: 'demo' } };
const SLACK = { type: 'slack', slack: { credentialsRef: { name: 's' } } };
const TELEGRAM = { type: 'telegram', telegram: { credentialsRef: { name: 's' } } };
const CHAT = { channelRef: 'slack', chatId: 'C1' };
const DESTINATION = { agentGroupRef: 'triage', localName: 'ops', target: { type: 'agent', agent: { agentGroupRef: 'b' } } };
const BARE_SESSION = { agentGroupRef: 'triage', agentGroupUid: 'u1', shard: 'shard-0', scope: 'slack/C1' };
const SESSION = { ...BARE_SESSION, channelRef: 'slack', chatId: 'C1', thread: 'T1' };
const CONDITION = { type: 'Ready', status: 'True', reason: 'Accepted', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' };
const STDIO = { name: 'files', type: 'stdio', stdio: { command: ['mcp-files', '/workspace'] } };
const HTTP = { name: 'tickets', type: 'http', http: { url: 'https://mcp.example.com/v1' } };
const engage = (how: Json): Json => ({ ...CHAT, agents: [{ agentGroupRef: 'triage', engage: how }] });

const SPEC: Record<KindName, Json> = {
  AgentGroup: DEMO,
  Channel: { type: 'local' },
  MessagingGroup: CHAT,
  Destination: DESTINATION,
  Session: SESSION,
};
const KINDS = Object.keys(SPEC) as KindName[];

const admit = (kind: KindName, name: string, spec: unknown): AdmittedCase => ({ name, kind, object: object(kind, spec) });
const change = (kind: KindName, name: string, old: unknown, spec: unknown): AdmittedCase => ({
  ...admit(kind, name, spec),
  old: object(kind, old),
});
const report = (kind: KindName, name: string, status: unknown): AdmittedCase => ({
  ...change(kind, name, SPEC[kind], SPEC[kind]),
  object: { ...object(kind, SPEC[kind]), status },
  subresource: 'status',
});

const sentence = (kind: KindName, written: Json, lines: string[]): string => {
  if (lines[0]?.startsWith('unknown field ') === true) {
    return `${kind} in version "${VERSION}" cannot be handled as a ${kind}: strict decoding error: ${lines.join(', ')}`;
  }
  const head = `The ${kind} "${String((written['metadata'] as Json)['name'])}" is invalid: `;
  return lines.length === 1 ? head + lines[0] : [head, ...lines.map((line) => `* ${line}`)].join('\n');
};
const refuse = (of: AdmittedCase, lines: string[]): RefusedCase => ({ ...of, message: sentence(of.kind, of.object, lines) });
const create = (kind: KindName, name: string, spec: unknown, ...lines: string[]): RefusedCase => refuse(admit(kind, name, spec), lines);
const whole = (kind: KindName, name: string, written: Json, ...lines: string[]): RefusedCase =>
  refuse({ name, kind, object: written }, lines);
const update = (kind: KindName, name: string, old: unknown, spec: unknown, ...lines: string[]): RefusedCase =>
  refuse(change(kind, name, old, spec), lines);
const status = (kind: KindName, name: string, value: unknown, ...lines: string[]): RefusedCase => refuse(report(kind, name, value), lines);

/** Added when a mistake kept the rules from being run. */
const NOT_CHECKED =
  '<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation';

export const refused: readonly RefusedCase[] = [
  create(
    'AgentGroup',
    'a required block is missing',
    { provider: { type: 'anthropic' } },
    "spec.provider.anthropic: Required value: must be set when type is 'anthropic'",
  ),
  create(
    'AgentGroup',
    'a block of another type is set',
    { provider: { type: 'demo', anthropic: { credentialsRef: { name: 's' } } } },
    "spec.provider.anthropic: Forbidden: may only be set when type is 'anthropic', not 'demo'",
  ),
  create(
    'AgentGroup',
    'the right block is missing and a wrong one is set',
    { provider: { type: 'anthropic', demo: {} } },
    "spec.provider.anthropic: Required value: must be set when type is 'anthropic'",
    "spec.provider.demo: Forbidden: may only be set when type is 'demo', not 'anthropic'",
  ),
  create(
    'AgentGroup',
    'an URL with a user in it',
    { provider: { type: 'anthropic', anthropic: { baseURL: 'https://me:secret@example.com/', credentialsRef: { name: 's' } } } },
    'spec.provider.anthropic.baseURL: Invalid value: "string": must be an http:// or https:// URL without user, query or fragment',
  ),
  create(
    'AgentGroup',
    'turnTimeout is no duration',
    { ...DEMO, limits: { turnTimeout: '1 hour' } },
    'spec.limits.turnTimeout: Invalid value: "string": must be a duration such as 500ms, 90s or 1h30m',
  ),
  create(
    'AgentGroup',
    'turnTimeout is too long',
    { ...DEMO, limits: { turnTimeout: '25h' } },
    'spec.limits.turnTimeout: Invalid value: "string": must be between 100ms and 24h, not 25h',
  ),
  create(
    'AgentGroup',
    'jobTime is no duration',
    { ...DEMO, limits: { jobTime: 'long' } },
    'spec.limits.jobTime: Invalid value: "string": must be a duration such as 500ms, 90s or 1h30m',
  ),
  create(
    'AgentGroup',
    'jobTime is too long',
    { ...DEMO, limits: { jobTime: '25h' } },
    'spec.limits.jobTime: Invalid value: "string": must be between 0s and 24h, not 25h',
  ),
  create(
    'AgentGroup',
    'noProgressTimeout is no duration',
    { ...DEMO, limits: { noProgressTimeout: '2d' } },
    'spec.limits.noProgressTimeout: Invalid value: "string": must be a duration such as 500ms, 90s or 1h30m',
  ),
  create(
    'AgentGroup',
    'noProgressTimeout is too short',
    { ...DEMO, limits: { noProgressTimeout: '10ms' } },
    'spec.limits.noProgressTimeout: Invalid value: "string": must be between 100ms and 24h, not 10ms',
  ),
  create(
    'AgentGroup',
    'idleTimeout is no duration',
    { ...DEMO, idleTimeout: '10' },
    'spec.idleTimeout: Invalid value: "string": must be a duration such as 500ms, 90s or 1h30m',
  ),
  create(
    'AgentGroup',
    'idleTimeout is too short',
    { ...DEMO, idleTimeout: '500ms' },
    'spec.idleTimeout: Invalid value: "string": must be between 1s and 168h, not 500ms',
  ),
  create(
    'AgentGroup',
    'a label key with a blank',
    { ...DEMO, podLabels: { 'a b': 'x' } },
    'spec.podLabels: Invalid value: "object": keys must have 1 to 317 characters and match ^[A-Za-z0-9]([-A-Za-z0-9._/]*[A-Za-z0-9])?$',
  ),
  create(
    'AgentGroup',
    'a label value with a blank',
    { ...DEMO, podLabels: { a: 'b c' } },
    `spec.podLabels.a: Invalid value: "b c": spec.podLabels.a in body should match '^([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?)?$'`,
  ),
  create(
    'AgentGroup',
    'an MCP server in the Pod without its program',
    { ...DEMO, mcpServers: [{ name: 'files', type: 'stdio' }] },
    "spec.mcpServers[0].stdio: Required value: must be set when type is 'stdio'",
  ),
  create(
    'AgentGroup',
    'an MCP server elsewhere without its address',
    { ...DEMO, mcpServers: [{ name: 'tickets', type: 'http' }] },
    "spec.mcpServers[0].http: Required value: must be set when type is 'http'",
  ),
  create(
    'AgentGroup',
    'MCP servers with the block of the other type',
    {
      ...DEMO,
      mcpServers: [
        { ...STDIO, http: HTTP.http },
        { ...HTTP, stdio: STDIO.stdio },
      ],
    },
    "spec.mcpServers[0].http: Forbidden: may only be set when type is 'http', not 'stdio'",
    "spec.mcpServers[1].stdio: Forbidden: may only be set when type is 'stdio', not 'http'",
  ),
  create(
    'AgentGroup',
    'a variable of an MCP server that no shell takes',
    { ...DEMO, mcpServers: [{ ...STDIO, stdio: { ...STDIO.stdio, env: { 'A-B': 'x' } } }] },
    'spec.mcpServers[0].stdio.env: Invalid value: "object": keys must have 1 to 128 characters and match ^[A-Za-z_][A-Za-z0-9_]*$',
  ),
  create(
    'AgentGroup',
    'an MCP server with a token in its URL',
    { ...DEMO, mcpServers: [{ ...HTTP, http: { url: 'https://mcp.example.com/?token=secret' } }] },
    'spec.mcpServers[0].http.url: Invalid value: "string": must be an http:// or https:// URL without user, query or fragment',
  ),
  create(
    'AgentGroup',
    'the timeout of an MCP server is no duration',
    { ...DEMO, mcpServers: [{ ...STDIO, timeout: '60' }] },
    'spec.mcpServers[0].timeout: Invalid value: "string": must be a duration such as 500ms, 90s or 1h30m',
  ),
  create(
    'AgentGroup',
    'the timeout of an MCP server is too long',
    { ...DEMO, mcpServers: [{ ...STDIO, timeout: '2h' }] },
    'spec.mcpServers[0].timeout: Invalid value: "string": must be between 1s and 1h, not 2h',
  ),
  create(
    'AgentGroup',
    'an MCP server twice',
    { ...DEMO, mcpServers: [STDIO, STDIO] },
    'spec.mcpServers[1]: Duplicate value: {"name":"files"}',
  ),
  create(
    'AgentGroup',
    'a host with its scheme',
    { ...DEMO, egress: { allowedHosts: ['https://example.com'] } },
    `spec.egress.allowedHosts[0]: Invalid value: "https://example.com": spec.egress.allowedHosts[0] in body should match '^([*][.])?[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$'`,
  ),
  create('AgentGroup', 'a budget without a limit', { ...DEMO, budget: {} }, 'spec.budget: Required value: must limit tokens or cost'),
  create(
    'AgentGroup',
    'a limit on cost without prices',
    { ...DEMO, budget: { cost: '10' } },
    'spec.budget.prices: Required value: must be set when cost is limited',
  ),
  create('AgentGroup', 'a required field is missing', {}, 'spec.provider: Required value', NOT_CHECKED),
  create(
    'AgentGroup',
    'a nested required field is missing',
    { provider: { type: 'anthropic', anthropic: {} } },
    'spec.provider.anthropic.credentialsRef: Required value',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'a number where text belongs',
    { ...DEMO, model: 5 },
    'spec.model: Invalid value: "integer": spec.model in body must be of type string: "integer"',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'text where a number belongs',
    { ...DEMO, limits: { maxAwake: '20' } },
    'spec.limits.maxAwake: Invalid value: "string": spec.limits.maxAwake in body must be of type integer: "string"',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'a fraction where an integer belongs',
    { ...DEMO, limits: { maxAwake: 1.5 } },
    'spec.limits.maxAwake: Invalid value: "number": spec.limits.maxAwake in body must be of type integer: "number"',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'a number that is too small',
    { ...DEMO, limits: { maxAwake: 0 } },
    'spec.limits.maxAwake: Invalid value: 0: spec.limits.maxAwake in body should be greater than or equal to 1',
  ),
  create(
    'AgentGroup',
    'a number that is too large',
    { ...DEMO, shards: { count: 65 } },
    'spec.shards.count: Invalid value: 65: spec.shards.count in body should be less than or equal to 64',
  ),
  create(
    'AgentGroup',
    'text that is too long',
    { ...DEMO, model: 'm'.repeat(129) },
    'spec.model: Too long: may not be more than 128 bytes',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'text that is too short',
    { ...DEMO, model: '' },
    'spec.model: Invalid value: "": spec.model in body should be at least 1 chars long',
  ),
  create(
    'AgentGroup',
    'a word that is not one of the allowed',
    { ...DEMO, effort: 'extreme' },
    'spec.effort: Unsupported value: "extreme": supported values: "low", "medium", "high", "max"',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'a size with a blank',
    { ...DEMO, limits: { storage: '1 Gi' } },
    `spec.limits.storage: Invalid value: "1 Gi": spec.limits.storage in body should match '^[1-9][0-9]{0,11}(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$'`,
  ),
  create(
    'AgentGroup',
    'a size of zero',
    { ...DEMO, limits: { storage: 0 } },
    'spec.limits.storage: Invalid value: 0: spec.limits.storage in body should be greater than or equal to 1',
  ),
  create(
    'AgentGroup',
    'a size that is neither number nor text',
    { ...DEMO, limits: { storage: true } },
    'spec.limits.storage: Invalid value: "boolean": spec.limits.storage in body must be of type integer,string: "boolean"',
    '<nil>: Invalid value: "": "spec.limits.storage" must validate at least one schema (anyOf)',
    'spec.limits.storage: Invalid value: "boolean": spec.limits.storage in body must be of type integer: "boolean"',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'a Secret name in capitals',
    { provider: { type: 'anthropic', anthropic: { credentialsRef: { name: 'Key' } } } },
    `spec.provider.anthropic.credentialsRef.name: Invalid value: "Key": spec.provider.anthropic.credentialsRef.name in body should match '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'`,
  ),
  create('AgentGroup', 'a tool twice', { ...DEMO, tools: ['bash', 'read', 'bash', 'bash'] }, 'spec.tools[2]: Duplicate value: "bash"'),
  create(
    'AgentGroup',
    'too many tools',
    { ...DEMO, tools: Array.from({ length: 129 }, (_, i) => `t${i}`) },
    'spec.tools: Too many: 129: must have at most 128 items',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'too many labels',
    { ...DEMO, podLabels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`l${i}`, ''])) },
    'spec.podLabels: Too many: 33: must have at most 32 items',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'text where a list belongs',
    { ...DEMO, tools: 'bash' },
    'spec.tools: Invalid value: "string": spec.tools in body must be of type array: "string"',
    NOT_CHECKED,
  ),
  create(
    'AgentGroup',
    'several mistakes at once',
    { provider: { type: 'openai' }, effort: 'extreme', shards: { count: 0 } },
    'spec.shards.count: Invalid value: 0: spec.shards.count in body should be greater than or equal to 1',
    'spec.effort: Unsupported value: "extreme": supported values: "low", "medium", "high", "max"',
    'spec.provider.type: Unsupported value: "openai": supported values: "anthropic", "demo"',
    NOT_CHECKED,
  ),
  create('AgentGroup', 'a field that does not exist', { ...DEMO, instuctions: 'be kind' }, 'unknown field "spec.instuctions"'),
  create(
    'AgentGroup',
    'several fields that do not exist',
    { provider: { type: 'demo', key: 'x' }, zeal: 1, instuctions: 'be kind' },
    'unknown field "spec.instuctions"',
    'unknown field "spec.provider.key"',
    'unknown field "spec.zeal"',
  ),
  whole('AgentGroup', 'a field beside spec that does not exist', { ...object('AgentGroup', DEMO), specs: {} }, 'unknown field "specs"'),
  whole('AgentGroup', 'no spec', without(object('AgentGroup', {}), 'spec'), 'spec: Required value', NOT_CHECKED),
  whole(
    'AgentGroup',
    'a name in capitals',
    object('AgentGroup', DEMO, 'Triage'),
    `metadata.name: Invalid value: "Triage": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
  ),
  whole(
    'AgentGroup',
    'a name that is too long',
    object('AgentGroup', DEMO, 'x'.repeat(64)),
    'metadata.name: Too long: may not be more than 63 bytes',
    NOT_CHECKED,
  ),
  update(
    'AgentGroup',
    'a change that breaks a rule',
    { ...DEMO, idleTimeout: '5m' },
    { ...DEMO, idleTimeout: '200h' },
    'spec.idleTimeout: Invalid value: "string": must be between 1s and 168h, not 200h',
  ),
  create('Channel', 'slack without its block', { type: 'slack' }, "spec.slack: Required value: must be set when type is 'slack'"),
  create(
    'Channel',
    'telegram without its block',
    { type: 'telegram' },
    "spec.telegram: Required value: must be set when type is 'telegram'",
  ),
  create(
    'Channel',
    'telegram with the block of slack',
    { type: 'telegram', slack: SLACK.slack },
    "spec.slack: Forbidden: may only be set when type is 'slack', not 'telegram'",
    "spec.telegram: Required value: must be set when type is 'telegram'",
  ),
  create(
    'Channel',
    'slack with the block of telegram',
    { ...SLACK, telegram: TELEGRAM.telegram },
    "spec.telegram: Forbidden: may only be set when type is 'telegram', not 'slack'",
  ),
  create(
    'Channel',
    'slack with the block of local',
    { ...SLACK, local: {} },
    "spec.local: Forbidden: may only be set when type is 'local', not 'slack'",
  ),
  create(
    'Channel',
    'the URL of slack is no URL',
    { type: 'slack', slack: { ...SLACK.slack, apiURL: 'slack.example.com' } },
    'spec.slack.apiURL: Invalid value: "string": must be an http:// or https:// URL without user, query or fragment',
  ),
  create(
    'Channel',
    'the URL of telegram is no URL',
    { type: 'telegram', telegram: { ...TELEGRAM.telegram, apiURL: 'ftp://example.com' } },
    'spec.telegram.apiURL: Invalid value: "string": must be an http:// or https:// URL without user, query or fragment',
  ),
  create(
    'Channel',
    'a mode of another platform',
    { type: 'slack', slack: { ...SLACK.slack, mode: 'Poll' } },
    'spec.slack.mode: Unsupported value: "Poll": supported values: "Webhook", "Socket"',
    NOT_CHECKED,
  ),
  update('Channel', 'the type changes', { type: 'local' }, SLACK, 'spec.type: Forbidden: field is immutable'),
  create(
    'MessagingGroup',
    'neither a chat nor a class',
    { channelRef: 'slack' },
    'spec: Invalid value: "object": exactly one of chatId and chatClass must be set',
  ),
  create(
    'MessagingGroup',
    'a chat and a class',
    { ...CHAT, chatClass: 'Any' },
    'spec: Invalid value: "object": exactly one of chatId and chatClass must be set',
  ),
  update('MessagingGroup', 'the channel changes', CHAT, { ...CHAT, channelRef: 'other' }, 'spec.channelRef: Forbidden: field is immutable'),
  update('MessagingGroup', 'the chat changes', CHAT, { ...CHAT, chatId: 'C2' }, 'spec.chatId: Forbidden: field is immutable'),
  update(
    'MessagingGroup',
    'the class changes',
    { channelRef: 'slack', chatClass: 'Direct' },
    { channelRef: 'slack', chatClass: 'Any' },
    'spec.chatClass: Forbidden: field is immutable',
  ),
  update(
    'MessagingGroup',
    'a chat becomes a class',
    CHAT,
    { channelRef: 'slack', chatClass: 'Group' },
    'spec.chatId: Forbidden: field is immutable',
    'spec.chatClass: Forbidden: field is immutable',
  ),
  create(
    'MessagingGroup',
    'mode Pattern without a pattern',
    engage({ mode: 'Pattern' }),
    "spec.agents[0].engage.pattern: Required value: must be set when mode is 'Pattern'",
  ),
  create(
    'MessagingGroup',
    'a pattern without mode Pattern',
    engage({ mode: 'Always', pattern: 'x' }),
    "spec.agents[0].engage.pattern: Forbidden: may only be set when mode is 'Pattern', not 'Always'",
  ),
  create(
    'MessagingGroup',
    'a pattern with look-ahead',
    engage({ mode: 'Pattern', pattern: '(?=deploy)' }),
    'spec.agents[0].engage.pattern: Invalid value: "string": may only use what RE2 and JavaScript share: literals, escapes, [classes], (groups), (?i), alternatives and counts up to 999',
  ),
  create(
    'MessagingGroup',
    'a pattern with a back-reference',
    engage({ mode: 'Pattern', pattern: '(a)\\1' }),
    'spec.agents[0].engage.pattern: Invalid value: "string": may only use what RE2 and JavaScript share: literals, escapes, [classes], (groups), (?i), alternatives and counts up to 999',
  ),
  create(
    'MessagingGroup',
    'a pattern with a group that is not closed',
    engage({ mode: 'Pattern', pattern: '(deploy' }),
    'spec.agents[0].engage.pattern: Invalid value: "string": error parsing regexp: missing closing ): `(deploy` evaluating rule: must be a valid regular expression (RE2)',
  ),
  create(
    'MessagingGroup',
    'a pattern with a group that is not opened',
    engage({ mode: 'Pattern', pattern: 'deploy)' }),
    'spec.agents[0].engage.pattern: Invalid value: "string": error parsing regexp: unexpected ): `deploy)` evaluating rule: must be a valid regular expression (RE2)',
  ),
  create(
    'MessagingGroup',
    'a pattern with a range that runs backwards',
    engage({ mode: 'Pattern', pattern: 'v[9-0]' }),
    'spec.agents[0].engage.pattern: Invalid value: "string": error parsing regexp: invalid character class range: `9-0` evaluating rule: must be a valid regular expression (RE2)',
  ),
  create(
    'MessagingGroup',
    'a pattern with a count that runs backwards',
    engage({ mode: 'Pattern', pattern: 'a{3,1}b' }),
    'spec.agents[0].engage.pattern: Invalid value: "string": error parsing regexp: invalid repeat count: `{3,1}` evaluating rule: must be a valid regular expression (RE2)',
  ),
  create(
    'MessagingGroup',
    'a pattern whose counts multiply to too much',
    engage({ mode: 'Pattern', pattern: '((a{100}){9}){2}' }),
    'spec.agents[0].engage.pattern: Invalid value: "string": error parsing regexp: invalid repeat count: `{2}` evaluating rule: must be a valid regular expression (RE2)',
  ),
  create(
    'MessagingGroup',
    'an agent twice',
    { ...CHAT, agents: [{ agentGroupRef: 'triage' }, { agentGroupRef: 'other' }, { agentGroupRef: 'triage' }] },
    'spec.agents[2]: Duplicate value: {"agentGroupRef":"triage"}',
  ),
  create(
    'MessagingGroup',
    'an agent without a name',
    { ...CHAT, agents: [{ priority: 1 }] },
    'spec.agents[0].agentGroupRef: Required value',
    NOT_CHECKED,
  ),
  create(
    'MessagingGroup',
    'mistakes in the second agent',
    { ...CHAT, agents: [{ agentGroupRef: 'triage' }, { agentGroupRef: 'other', priority: 1001, engage: { mode: 'Pattern' } }] },
    'spec.agents[1].priority: Invalid value: 1001: spec.agents[1].priority in body should be less than or equal to 1000',
    "spec.agents[1].engage.pattern: Required value: must be set when mode is 'Pattern'",
  ),
  update(
    'Destination',
    'the agent changes',
    DESTINATION,
    { ...DESTINATION, agentGroupRef: 'other' },
    'spec.agentGroupRef: Forbidden: field is immutable',
  ),
  create(
    'Destination',
    'a local name with a blank',
    { ...DESTINATION, localName: 'Bad Name!' },
    `spec.localName: Invalid value: "Bad Name!": spec.localName in body should match '^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$'`,
  ),
  create(
    'Destination',
    'a chat without its block',
    { ...DESTINATION, target: { type: 'channel' } },
    "spec.target.channel: Required value: must be set when type is 'channel'",
  ),
  create(
    'Destination',
    'an agent without its block',
    { ...DESTINATION, target: { type: 'agent' } },
    "spec.target.agent: Required value: must be set when type is 'agent'",
  ),
  create(
    'Destination',
    'an agent with the block of a chat',
    { ...DESTINATION, target: { ...DESTINATION.target, channel: { channelRef: 'slack', chatId: 'C1' } } },
    "spec.target.channel: Forbidden: may only be set when type is 'channel', not 'agent'",
  ),
  create(
    'Destination',
    'a chat with the block of an agent',
    { ...DESTINATION, target: { type: 'channel', channel: { channelRef: 'slack', chatId: 'C1' }, agent: { agentGroupRef: 'b' } } },
    "spec.target.agent: Forbidden: may only be set when type is 'agent', not 'channel'",
  ),
  create(
    'Destination',
    'a chat without an id',
    { ...DESTINATION, target: { type: 'channel', channel: { channelRef: 'slack' } } },
    'spec.target.channel.chatId: Required value',
    NOT_CHECKED,
  ),
  update(
    'Session',
    'agentGroupRef changes',
    SESSION,
    { ...SESSION, agentGroupRef: 'other' },
    'spec.agentGroupRef: Forbidden: field is immutable',
  ),
  update(
    'Session',
    'agentGroupUid changes',
    SESSION,
    { ...SESSION, agentGroupUid: 'other' },
    'spec.agentGroupUid: Forbidden: field is immutable',
  ),
  update('Session', 'shard changes', SESSION, { ...SESSION, shard: 'other' }, 'spec.shard: Forbidden: field is immutable'),
  update('Session', 'scope changes', SESSION, { ...SESSION, scope: 'other' }, 'spec.scope: Forbidden: field is immutable'),
  update('Session', 'generation changes', SESSION, { ...SESSION, generation: 2 }, 'spec.generation: Forbidden: field is immutable'),
  update('Session', 'type changes', SESSION, { ...SESSION, type: 'Api' }, 'spec.type: Forbidden: field is immutable'),
  update('Session', 'channelRef changes', SESSION, { ...SESSION, channelRef: 'other' }, 'spec.channelRef: Forbidden: field is immutable'),
  update('Session', 'chatId is removed', SESSION, without(SESSION, 'chatId'), 'spec.chatId: Forbidden: field is immutable'),
  update('Session', 'thread is added', without(SESSION, 'thread'), SESSION, 'spec.thread: Forbidden: field is immutable'),
  whole(
    'Session',
    'a name that leaves no room for the name of its Pod',
    object('Session', SESSION, 's'.repeat(53)),
    'metadata.name: Too long: may not be more than 52 bytes',
    NOT_CHECKED,
  ),
  status(
    'AgentGroup',
    'a condition from before 1970',
    { conditions: [{ ...CONDITION, lastTransitionTime: '1969-12-31T23:59:59Z' }] },
    'status.conditions[0].lastTransitionTime: Invalid value: "string": must be an RFC 3339 time after 1970',
  ),
  status(
    'Channel',
    'a condition from before 1970',
    { conditions: [{ ...CONDITION, lastTransitionTime: '1969-12-31T23:59:59Z' }] },
    'status.conditions[0].lastTransitionTime: Invalid value: "string": must be an RFC 3339 time after 1970',
  ),
  status(
    'MessagingGroup',
    'a condition from before 1970',
    { conditions: [{ ...CONDITION, lastTransitionTime: '1969-12-31T23:59:59Z' }] },
    'status.conditions[0].lastTransitionTime: Invalid value: "string": must be an RFC 3339 time after 1970',
  ),
  status(
    'Destination',
    'a condition from before 1970',
    { conditions: [{ ...CONDITION, lastTransitionTime: '1969-12-31T23:59:59Z' }] },
    'status.conditions[0].lastTransitionTime: Invalid value: "string": must be an RFC 3339 time after 1970',
  ),
  status(
    'Session',
    'a condition from before 1970',
    { conditions: [{ ...CONDITION, lastTransitionTime: '1969-12-31T23:59:59Z' }] },
    'status.conditions[0].lastTransitionTime: Invalid value: "string": must be an RFC 3339 time after 1970',
  ),
  status(
    'Channel',
    'a connection from before 1970',
    { connectedSince: '1969-12-31T23:59:59Z' },
    'status.connectedSince: Invalid value: "string": must be an RFC 3339 time after 1970',
  ),
  status(
    'Channel',
    'a list where a time belongs',
    { connectedSince: ['2026-01-01T00:00:00Z'] },
    'status.connectedSince: Invalid value: "string": invalid data, expected string, got []interface {} evaluating rule: must be an RFC 3339 time after 1970',
  ),
  status(
    'Channel',
    'a day that does not exist',
    { connectedSince: '2026-02-30T00:00:00Z' },
    'status.connectedSince: Invalid value: "2026-02-30T00:00:00Z": connectedSince in body must be of type date-time: "2026-02-30T00:00:00Z"',
    NOT_CHECKED,
  ),
  status(
    'Session',
    'an exit from before 1970',
    { lastExit: { reason: 'Evicted', at: '1969-12-31T23:59:59Z' } },
    'status.lastExit.at: Invalid value: "string": must be an RFC 3339 time after 1970',
  ),
  status(
    'Session',
    'a try before 1970',
    { refused: { template: 'a', tries: 1, retryAt: '1969-12-31T23:59:59Z' } },
    'status.refused.retryAt: Invalid value: "string": must be an RFC 3339 time after 1970',
  ),
  status(
    'Session',
    'a phase that does not exist',
    { phase: 'Sleeping' },
    'status.phase: Unsupported value: "Sleeping": supported values: "Asleep", "Waking", "Awake", "Draining", "Suspended", "Failed"',
    NOT_CHECKED,
  ),
  status('Session', 'a condition twice', { conditions: [CONDITION, CONDITION] }, 'status.conditions[1]: Duplicate value: {"type":"Ready"}'),
  status(
    'Session',
    'a condition without a reason',
    { conditions: [without(CONDITION, 'reason')] },
    'status.conditions[0].reason: Required value',
    NOT_CHECKED,
  ),
];

export const admitted: readonly AdmittedCase[] = [
  admit('AgentGroup', 'the least', DEMO),
  admit('AgentGroup', 'everything', {
    displayName: 'Triage 🐦',
    provider: { type: 'anthropic', anthropic: { baseURL: 'http://[::1]:8080/v1/', credentialsRef: { name: 'keys', key: 'anthropic' } } },
    model: 'claude',
    effort: 'max',
    instructions: 'Be kind.',
    tools: ['bash', 'read'],
    limits: {
      maxAwake: 5,
      maxSteps: 10,
      turnTimeout: '1h30m',
      noProgressTimeout: '90s',
      jobTime: '0s',
      storage: 1048576,
      agentStorage: '10Gi',
    },
    idleTimeout: '168h',
    shards: { count: 2 },
    resources: { requests: { cpu: '500m', memory: '256Mi' }, limits: { cpu: 2, memory: '1Gi', 'ephemeral-storage': '1.5Gi' } },
    image: 'localhost/runner:1',
    runtimeClassName: 'runc',
    podLabels: { 'example.com/team': 'birds', empty: '' },
    thinking: 'adaptive',
    mcpServers: [
      { ...STDIO, stdio: { ...STDIO.stdio, env: { LOG_LEVEL: 'debug', empty: '' } }, tools: ['read'], timeout: '1h' },
      { ...HTTP, http: { ...HTTP.http, headers: [{ name: 'Authorization', prefix: 'Bearer ', secretRef: { name: 'tickets' } }] } },
    ],
    skills: [{ configMapRef: 'release-notes' }],
    egress: { allowedHosts: ['example.com', '*.example.org', 'registry.example.com:8443', '192.0.2.7'] },
    budget: {
      period: 'Week',
      tokens: 5_000_000,
      cost: '25.50',
      prices: [{ model: 'claude-', input: '3', output: '15', cacheRead: '0.30', cacheWrite: '3.75' }],
    },
    chat: { streaming: false, toolLine: false },
  }),
  admit('AgentGroup', 'a budget of tokens alone', { ...DEMO, budget: { tokens: 1 } }),
  admit('AgentGroup', 'the demo provider with its block', { provider: { type: 'demo', demo: {} } }),
  change('AgentGroup', 'a change', DEMO, {
    ...DEMO,
    effort: 'low',
    provider: { type: 'anthropic', anthropic: { credentialsRef: { name: 's' } } },
  }),
  admit('Channel', 'local', { type: 'local' }),
  admit('Channel', 'local with its block', { type: 'local', local: {} }),
  admit('Channel', 'slack', {
    type: 'slack',
    slack: { mode: 'Socket', apiURL: 'http://127.0.0.1:3000/api/', credentialsRef: { name: 's' } },
    inDoubt: 'DeadLetter',
    rateLimit: { perSecond: 1, burst: 5 },
    maxAttachmentBytes: '10M',
  }),
  admit('Channel', 'telegram', {
    type: 'telegram',
    telegram: { mode: 'Poll', apiURL: 'https://api.telegram.org', credentialsRef: { name: 's' } },
  }),
  change('Channel', 'another Secret', SLACK, { type: 'slack', slack: { credentialsRef: { name: 't' } } }),
  admit('MessagingGroup', 'a chat', { ...CHAT, knownSenders: ['U1'] }),
  admit('MessagingGroup', 'a class', { channelRef: 'slack', chatClass: 'Direct', unknownSenders: 'Public' }),
  admit('MessagingGroup', 'agents', {
    ...CHAT,
    agents: [
      { agentGroupRef: 'triage' },
      {
        agentGroupRef: 'on.call',
        engage: { mode: 'Pattern', pattern: '(?i)\\bdeploy(s|ed)?\\b' },
        sessionMode: 'PerThread',
        priority: 10,
        ignored: 'Accumulate',
        senderScope: 'Known',
      },
    ],
  }),
  change(
    'MessagingGroup',
    'agents in another order',
    { ...CHAT, agents: [{ agentGroupRef: 'a' }, { agentGroupRef: 'b' }] },
    { ...CHAT, agents: [{ agentGroupRef: 'b' }, { agentGroupRef: 'a' }] },
  ),
  change(
    'MessagingGroup',
    'a class that stays',
    { channelRef: 'slack', chatClass: 'Any' },
    { channelRef: 'slack', chatClass: 'Any', displayName: 'all' },
  ),
  admit('Destination', 'an agent', DESTINATION),
  admit('Destination', 'a chat', {
    ...DESTINATION,
    target: { type: 'channel', channel: { channelRef: 'slack', chatId: 'C1', thread: '1.2' } },
  }),
  change('Destination', 'another target', DESTINATION, {
    ...DESTINATION,
    target: { type: 'channel', channel: { channelRef: 'slack', chatId: 'C1' } },
  }),
  admit('Session', 'asleep', SESSION),
  change(
    'Session',
    'woken',
    { ...SESSION, generation: 2, type: 'Api' },
    { ...SESSION, generation: 2, type: 'Api', awake: true, title: 'A title' },
  ),
  change('Session', 'suspended', BARE_SESSION, { ...BARE_SESSION, suspended: true }),
  ...KINDS.map((kind) => report(kind, 'a condition', { observedGeneration: 1, conditions: [CONDITION] })),
  report('Channel', 'connected', { account: '@dovecote', path: '/hooks/slack', connectedSince: '2026-01-01T00:00:00.5+02:00' }),
  report('Session', 'exited', {
    phase: 'Failed',
    podName: 'x',
    podUid: 'u',
    restarts: 1,
    lastExit: { reason: 'OOMKilled', message: 'm', exitCode: 137, at: '2026-01-01T00:00:00Z' },
    refused: { template: 'a', tries: 1, retryAt: '2026-01-01T00:05:00Z' },
  }),
];
