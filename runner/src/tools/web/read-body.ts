import type { IncomingMessage } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';

const DECODERS: Readonly<Record<string, () => NodeJS.ReadWriteStream & Readable>> = {
  br: createBrotliDecompress,
  deflate: createInflate,
  gzip: createGunzip,
  'x-gzip': createGunzip,
};

/** At most `limit` bytes, unpacked: a small answer must not become a large one in memory. `more`: there were more. */
export async function readBody(answer: IncomingMessage, limit: number): Promise<{ readonly data: Buffer; readonly more: boolean }> {
  const decoder = DECODERS[String(answer.headers['content-encoding'] ?? '').toLowerCase()];
  const stream: Readable = decoder === undefined ? answer : pipeline(answer, decoder(), () => {}); // its error comes out of the reading below
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > limit) break;
    }
  } finally {
    answer.destroy();
  }
  return { data: Buffer.concat(chunks).subarray(0, limit), more: length > limit };
}
