import { readSync, type Stats } from 'node:fs';
import { JailError, type PathJail } from './path-jail.ts';

/** The largest file that is read whole. */
export const MAX_READ_BYTES = 10 * 1024 * 1024;

/** A text file's content. Throws JailError, also for binary files, and TooLargeError for files over `limit` bytes. */
export function readText(jail: PathJail, path: string, limit = MAX_READ_BYTES): { readonly text: string; readonly stats: Stats } {
  const { bytes, stats, shown } = readBytes(jail, path, limit);
  const text = asText(bytes);
  if (text === undefined) throw new JailError('Invalid', `${shown} is a binary file (${stats.size} bytes)`);
  return { text, stats };
}

/** Any file's content. Throws JailError, and TooLargeError for files over `limit` bytes. */
export function readBytes(
  jail: PathJail,
  path: string,
  limit: number,
): { readonly bytes: Buffer; readonly stats: Stats; readonly shown: string } {
  return jail.withFile(path, (fd, stats, { shown }) => {
    if (stats.size > limit) throw new TooLargeError(`${shown} has ${stats.size} bytes, more than the ${limit} that are read at once`);
    // One byte more than stated: a file that grows meanwhile must not be read without end.
    const data = Buffer.alloc(Math.min(limit, Math.max(stats.size, 65_536)) + 1);
    let length = 0;
    for (;;) {
      const read = readSync(fd, data, length, data.length - length, length);
      length += read;
      if (read === 0 || length === data.length) break;
    }
    return { bytes: data.subarray(0, length), stats, shown };
  });
}

export class TooLargeError extends Error {
  override readonly name = 'TooLargeError';
}

const DECODER = new TextDecoder('utf-8', { fatal: true });

/** undefined: not UTF-8 text. */
export function asText(bytes: Buffer): string | undefined {
  if (bytes.subarray(0, 8192).includes(0)) return undefined;
  try {
    return DECODER.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Lines without their ends; a final newline makes no further line. */
export function splitLines(text: string): readonly string[] {
  if (text === '') return [];
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}
