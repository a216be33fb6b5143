import type { Stats } from 'node:fs';
import type { containerService as proto } from '@dovecote/proto';
import { status } from '@grpc/grpc-js';
import { writeAtomic } from '../files/atomic-write.ts';
import { listEntries } from '../files/entries.ts';
import type { PathJail } from '../files/path-jail.ts';
import { readText, splitLines } from '../files/text.ts';
import { etagOf, fileInfo } from './file-info.ts';
import { StatusError } from './status-error.ts';

/** One gRPC message holds at most 4 MiB: the rest is for ReadRaw and WriteRaw. */
export const MAX_TEXT_BYTES = 3 * 1024 * 1024;
const DEFAULT_ENTRIES = 1_000;
const MAX_ENTRIES = 10_000;

export function readFile(jail: PathJail, request: proto.ReadFileRequest): proto.ReadFileResponse {
  const { text, stats } = readText(jail, request.path, MAX_TEXT_BYTES);
  const info = fileInfo(jail.resolve(request.path).shown, stats);
  const lines = splitLines(text);
  if (request.offsetLines === 0 && request.limitLines === 0) return { text, totalLines: lines.length, info };
  const end = request.limitLines === 0 ? undefined : request.offsetLines + request.limitLines;
  return {
    text: lines
      .slice(request.offsetLines, end)
      .map((line) => `${line}\n`)
      .join(''),
    totalLines: lines.length,
    info,
  };
}

/** `expected_etag`: empty overwrites, "-" wants no file there, else the file must still be that one. */
export function writeFile(jail: PathJail, request: proto.WriteFileRequest): proto.WriteFileResponse {
  const data = Buffer.from(request.text);
  if (data.length > MAX_TEXT_BYTES)
    throw new StatusError(
      status.RESOURCE_EXHAUSTED,
      `the text has ${data.length} bytes; files of up to ${MAX_TEXT_BYTES} bytes can be written at once`,
    );
  writeAtomic(jail, request.path, data, {
    createParents: request.createParents,
    check: (before) => checkEtag(request.expectedEtag, before),
  });
  return { info: fileInfo(jail.resolve(request.path).shown, jail.stat(request.path)) };
}

function checkEtag(expected: string, before: Stats | undefined): void {
  if (expected === '') return;
  const found = before === undefined ? '-' : etagOf(before);
  if (found !== expected)
    throw new StatusError(
      status.ABORTED,
      before === undefined ? 'the file does not exist any more' : 'the file is not the expected one any more',
    );
}

export function listDir(jail: PathJail, request: proto.ListDirRequest): proto.ListDirResponse {
  const limit = Math.min(request.limit > 0 ? request.limit : DEFAULT_ENTRIES, MAX_ENTRIES);
  const { shown } = jail.resolve(request.path);
  const entries = listEntries(jail, request.path).filter(({ name }) => request.after === '' || name > request.after);
  return {
    entries: entries.slice(0, limit).map(({ name, stats }) => fileInfo(`${shown}/${name}`, stats)),
    more: entries.length > limit,
  };
}

export function stat(jail: PathJail, request: proto.StatRequest): proto.StatResponse {
  return { info: fileInfo(jail.resolve(request.path).shown, jail.stat(request.path)) };
}
