import { type Logger, pino } from 'pino';

/** A constant sentence plus fields; once, where a thing is handled. Message texts are never logged. */
export type Log = Logger;

const REDACTED = ['token', 'secret', 'authorization', 'apiKey', 'headers.authorization'];

export function createLog(options: { readonly session: string; readonly level: string }): Log {
  return pino({
    level: options.level,
    base: { role: 'runner', session: options.session },
    redact: { paths: REDACTED.flatMap((path) => [path, `*.${path}`]), censor: '[redacted]' },
    timestamp: pino.stdTimeFunctions.isoTime,
  });
}

export const silentLog: Log = pino({ level: 'silent' });
