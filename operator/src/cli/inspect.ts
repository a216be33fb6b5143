/** The commands that look: sessions, why, drops, usage, dead letters. Each prints a table for people or JSON for programs. */
import type { sessions, usage } from '@dovecote/proto';
import type { ApiClient } from './api-client.ts';

export type Output = 'table' | 'json';
type Write = (text: string) => void;

/** Columns as wide as their widest cell, two spaces apart. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return `${[head, ...rows].map(line).join('\n')}\n`;
}

/** "3m", "2h", "5d": how long ago. */
export function ago(atMs: number, nowMs: number): string {
  if (atMs === 0) return '-';
  const seconds = Math.max(0, Math.round((nowMs - atMs) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}

const dash = (text: string): string => (text === '' ? '-' : text);
const cut = (text: string, length: number): string => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

export async function listSessions(
  client: ApiClient,
  options: { agent?: string; output: Output; now: number; write: Write },
): Promise<void> {
  const { sessions: list } = await client.json<{ sessions: sessions.SessionSummary[] }>(
    `/api/sessions${options.agent ? `?agent=${encodeURIComponent(options.agent)}` : ''}`,
  );
  if (options.output === 'json') return options.write(`${JSON.stringify(list, null, 2)}\n`);
  const rows = list.map((s) => [
    s.session,
    s.agentGroup,
    s.queuePosition > 0 ? `${s.state} (${s.queuePosition})` : s.state,
    String(s.pending),
    s.scope,
    dash(cut(s.title, 40)),
    ago(s.lastActivityMs, options.now),
  ]);
  options.write(table(['SESSION', 'AGENT', 'STATE', 'PENDING', 'SCOPE', 'TITLE', 'ACTIVE'], rows));
}

/** Of the present period of each agent's budget; of this month without one. */
export async function listUsage(client: ApiClient, options: { agent?: string; output: Output; write: Write }): Promise<void> {
  const { agents } = await client.json<{ agents: usage.AgentUsage[] }>(
    `/api/usage${options.agent ? `?agent=${encodeURIComponent(options.agent)}` : ''}`,
  );
  if (options.output === 'json') return options.write(`${JSON.stringify(agents, null, 2)}\n`);
  const rows = agents.map(({ agentGroup, session, model, requests, unfinished, tokens, cost }) => [
    agentGroup,
    session,
    dash(model),
    unfinished > 0 ? `${requests} (${unfinished} unfinished)` : String(requests),
    ...[tokens?.input, tokens?.output, tokens?.cacheRead, tokens?.cacheWrite].map((count) => String(count ?? 0)),
    cost.toFixed(4),
  ]);
  options.write(table(['AGENT', 'SESSION', 'MODEL', 'REQUESTS', 'INPUT', 'OUTPUT', 'CACHE READ', 'CACHE WRITE', 'COST'], rows));
}

export async function explain(client: ApiClient, id: string, options: { output: Output; write: Write }): Promise<void> {
  const { found } = await client.json<{ found: sessions.ExplainResponse[] }>(`/api/why?id=${encodeURIComponent(id)}`);
  if (options.output === 'json') return options.write(`${JSON.stringify(found, null, 2)}\n`);
  for (const { session, steps } of found) {
    options.write(`${session === '' ? 'no session' : `session ${session}`}\n`);
    options.write(
      table(
        ['AT', 'STAGE', 'REASON', 'WHAT'],
        steps.map((s) => [s.atMs === 0 ? '-' : new Date(s.atMs).toISOString(), s.stage, dash(s.reason), s.what]),
      ),
    );
  }
}

export async function listDrops(client: ApiClient, options: { output: Output; now: number; write: Write }): Promise<void> {
  const { drops } = await client.json<{ drops: sessions.Drop[] }>('/api/drops');
  if (options.output === 'json') return options.write(`${JSON.stringify(drops, null, 2)}\n`);
  const rows = drops.map((d) => [
    d.channel,
    d.chat,
    dash(d.senderName === '' ? d.sender : d.senderName),
    dash(d.agentGroup),
    d.reason,
    String(d.count),
    ago(d.lastMs, options.now),
    d.detail,
  ]);
  options.write(table(['CHANNEL', 'CHAT', 'SENDER', 'AGENT', 'REASON', 'COUNT', 'LAST', 'DETAIL'], rows));
}

export async function listDeadLetters(client: ApiClient, options: { output: Output; now: number; write: Write }): Promise<void> {
  const { deadLetters } = await client.json<{ deadLetters: sessions.DeadLetter[] }>('/api/dead-letters');
  if (options.output === 'json') return options.write(`${JSON.stringify(deadLetters, null, 2)}\n`);
  const rows = deadLetters.map((d) => [
    d.id,
    d.direction,
    `${d.channel}/${d.chat}`,
    String(d.attempts),
    ago(d.deadAtMs, options.now),
    cut(d.lastError, 80),
  ]);
  options.write(table(['ID', 'DIRECTION', 'CHAT', 'ATTEMPTS', 'SINCE', 'ERROR'], rows));
}

export async function retryDeadLetter(client: ApiClient, id: string, options: { output: Output; write: Write }): Promise<void> {
  const answer = await client.json<{ retried: string }>('/api/dead-letters/retry', { method: 'POST', body: { id } });
  options.write(options.output === 'json' ? `${JSON.stringify(answer)}\n` : `${answer.retried} is queued again\n`);
}
