import { type Logger, pino } from 'pino';

/** A constant sentence plus fields; once, where a thing is handled. Never built from text that came from outside. */
export type Log = Logger;

/** Paths under which a credential could stand, in any object we log. */
const REDACTED = ['token', 'secret', 'password', 'authorization', 'apiKey', 'credentials', 'headers.authorization', 'headers.cookie'];

export function createLog(options: { role: string; level: string; pretty?: boolean }): Log {
  return pino({
    level: options.level,
    base: { role: options.role },
    redact: { paths: REDACTED.flatMap((path) => [path, `*.${path}`]), censor: '[redacted]' },
    timestamp: pino.stdTimeFunctions.isoTime,
  });
}

export const silentLog: Log = pino({ level: 'silent' });
