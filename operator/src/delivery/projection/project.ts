/** Projections: what the runner must know of its AgentGroup and Destinations, written into inbound.db, where the Pod can read it. */
import { createHash } from 'node:crypto';
import { type AgentGroup, type Destination, durationMs } from '@dovecote/crds';
import type { AgentConfig, DestinationRow, McpServerConfig, RoutingRow } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { parseScope } from '../../lib/scope.ts';
import { prepared } from '../cells/statements.ts';

export interface Projection {
  readonly config: AgentConfig;
  /** sorted by name, so that the prompt made of them stays the same */
  readonly destinations: readonly DestinationRow[];
  /** undefined: the session is about everything, and answers where it was last called */
  readonly routing: RoutingRow | undefined;
  readonly hash: string;
}

export function buildProjection(agent: AgentGroup, destinations: readonly Destination[], scope: string): Projection {
  const { spec } = agent;
  const config: AgentConfig = {
    name: agent.metadata.name,
    ...(spec.displayName !== undefined && { displayName: spec.displayName }),
    provider: spec.provider.type,
    ...(spec.model !== undefined && { model: spec.model }),
    effort: spec.effort,
    instructions: spec.instructions ?? '',
    ...(spec.tools !== undefined && { tools: [...spec.tools].sort() }),
    maxSteps: spec.limits.maxSteps,
    turnTimeoutMs: durationMs(spec.limits.turnTimeout),
    noProgressTimeoutMs: durationMs(spec.limits.noProgressTimeout),
    ...(spec.thinking !== undefined && { thinking: spec.thinking }),
    // Another server that speaks the same API need not know its newest parts.
    ...(spec.provider.type === 'anthropic' && { serverCompaction: spec.provider.anthropic?.baseURL === undefined }),
    streaming: spec.chat.streaming,
    ...(spec.mcpServers !== undefined && { mcpServers: mcpServers(spec.mcpServers) }),
    ...(spec.egress?.allowedHosts !== undefined && { allowedHosts: [...spec.egress.allowedHosts].sort() }),
  };
  const rows = destinations
    .filter((destination) => destination.spec.agentGroupRef === agent.metadata.name && destination.metadata.deletionTimestamp === undefined)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .map(destinationRow)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  // Two objects may claim one local name: the first by object name has it, always the same one.
  const unique = rows.filter((row, i) => row.name !== rows[i - 1]?.name);
  const chat = parseScope(scope);
  const routing = chat && { channel: chat.channel, chat: chat.chat, thread: chat.thread ?? null };
  const hash = createHash('sha256')
    .update(JSON.stringify([config, unique, routing]))
    .digest('hex');
  return { config, destinations: unique, routing, hash };
}

/** What a Pod may know of its MCP servers: of a remote one its name alone, as the proxy has address and credentials. */
function mcpServers(servers: NonNullable<AgentGroup['spec']['mcpServers']>): readonly McpServerConfig[] {
  return servers
    .map(({ name, type, stdio, tools, timeout }) => ({
      name,
      type,
      ...(stdio !== undefined && { command: stdio.command, ...(stdio.env !== undefined && { env: stdio.env }) }),
      ...(tools !== undefined && { tools: [...tools].sort() }),
      timeoutMs: durationMs(timeout),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function destinationRow({ spec }: Destination): DestinationRow {
  const { channel, agent } = spec.target;
  return {
    name: spec.localName,
    type: spec.target.type,
    channel: channel?.channelRef ?? null,
    chat: channel?.chatId ?? null,
    thread: channel?.thread ?? null,
    agent_group: agent?.agentGroupRef ?? null,
    display_name: null,
  };
}

/** One transaction, and none when nothing changed. True: it changed. */
export function writeProjection(inbound: Database, { config, destinations, routing, hash }: Projection): boolean {
  if (prepared(inbound, 'SELECT hash FROM agent').pluck().get() === hash) return false;
  inbound
    .transaction(() => {
      prepared(
        inbound,
        'INSERT INTO agent (id, config, hash) VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE SET config = excluded.config, hash = excluded.hash',
      ).run(JSON.stringify(config), hash);
      prepared(inbound, 'DELETE FROM destinations').run();
      for (const row of destinations) {
        prepared(
          inbound,
          `INSERT INTO destinations (name, type, channel, chat, thread, agent_group, display_name)
           VALUES (@name, @type, @channel, @chat, @thread, @agent_group, @display_name)`,
        ).run(row);
      }
      if (routing === undefined) return;
      prepared(
        inbound,
        `INSERT INTO routing (id, channel, chat, thread) VALUES (1, @channel, @chat, @thread)
         ON CONFLICT (id) DO UPDATE SET channel = excluded.channel, chat = excluded.chat, thread = excluded.thread`,
      ).run(routing);
    })
    .immediate();
  return true;
}
