import { TerminalError } from '../../lib/errors.ts';

/** One key of a Channel's Secret. Throws TerminalError SecretKeyMissing, which names the key and never a value. */
export function credential(credentials: Readonly<Record<string, string>>, key: string, channel: string): string {
  const value = credentials[key]?.trim();
  if (value === undefined || value === '')
    throw new TerminalError('SecretKeyMissing', `cannot connect channel ${channel}: its Secret has no key ${key}`);
  return value;
}
