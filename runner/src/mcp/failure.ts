import { stripVTControlCharacters } from 'node:util';

/** Why a server cannot be used: a clause that begins with a verb, as "ended with exit code 1", for the model, people and the log. */
export class ServerFailure extends Error {
  override readonly name = 'ServerFailure';
}

/** A message surely never reached the server: it may be sent again. */
export class NotDeliveredError extends Error {
  override readonly name = 'NotDeliveredError';
}

const MAX_CHARS = 300;

/** What a server wrote, as part of one sentence of ours; without the credentials that a URL in it may hold. */
export function quoted(text: string, maxChars = MAX_CHARS): string {
  const line = stripVTControlCharacters(text)
    .replace(/:\/\/[^\s/@]*@/g, '://…@')
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim();
  return line.length <= maxChars ? line : `${line.slice(0, maxChars)}…`;
}
