import { type Logger, LogLevel } from '@slack/bolt';
import type { Log } from '../../../lib/log.ts';

/** Slack's libraries log whole bodies at debug and tokens' neighbourhood at info: only warnings and errors come through, as fields. */
export function slackLogger(log: Log): Logger {
  const text = (messages: readonly unknown[]): string =>
    messages.map((message) => (message instanceof Error ? message.message : String(message))).join(' ');
  return {
    debug: () => {},
    info: () => {},
    warn: (...messages: unknown[]) => log.debug({ slack: text(messages) }, 'slack library warns'),
    error: (...messages: unknown[]) => log.warn({ slack: text(messages) }, 'slack library reports an error'),
    setLevel: () => {},
    getLevel: () => LogLevel.WARN,
    setName: () => {},
  };
}
