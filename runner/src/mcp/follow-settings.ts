import type { AgentConfig } from '@dovecote/proto';
import type { Bell } from '../lifecycle/bell.ts';
import type { McpServers } from './mcp-servers.ts';

/** Doorbells may be lost: this finds what they announced. */
const POLL_MS = 1_000;

export interface SettingsSource {
  readonly servers: McpServers;
  /** the agent as delivery last wrote it */
  readonly agent: () => AgentConfig;
  readonly bell: Bell;
}

/**
 * Keeps the servers those of the settings, also while no turn runs: one that is added between two messages is up when the next
 * comes. The first look is made before this returns. The returned function ends it.
 */
export function followSettings({ servers, agent, bell }: SettingsSource): () => Promise<void> {
  const stop = new AbortController();
  const follow = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const heard = bell.count;
      servers.apply(agent().mcpServers);
      await bell.wait(heard, POLL_MS, stop.signal);
    }
  };
  // What makes the settings unreadable ends the session's own loop, with its reason: the turn reads the same file.
  const following = follow().catch(() => {});
  return async () => {
    stop.abort();
    await following;
  };
}
