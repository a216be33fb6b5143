/**
 * The file calls of ContainerService, over a jail and apart from any transport: the runner answers them for an awake session, delivery
 * for one that sleeps, and both must mean the same by them.
 */
import { closeSync, lstatSync, read, type Stats } from 'node:fs';
import { promisify } from 'node:util';
import type * as proto from '../gen/dovecote/v1/container_service.ts';
import { AtomicFile, writeAtomic } from './atomic-write.ts';
import { pageOfEntries } from './entries.ts';
import { etagOf, fileInfo } from './file-info.ts';
import { move } from './move.ts';
import { JailError, makeFolder, type PathJail, translate } from './path-jail.ts';
import { remove } from './remove.ts';
import { readText, splitLines } from './text.ts';

/** One gRPC message holds at most 4 MiB: the rest is for ReadRaw and WriteRaw. */
export const MAX_TEXT_BYTES: number = 3 * 1024 * 1024;
/** The largest file that WriteRaw makes. */
export const MAX_RAW_BYTES: number = 1024 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const DEFAULT_ENTRIES = 1_000;
const MAX_ENTRIES = 10_000;
const readLater = promisify(read);

/** One call's two ways. */
export interface FileCall<Req, Res> {
  /** what the caller sends; rejects when it leaves */
  readonly requests: AsyncIterator<Req>;
  /** Resolves when the caller can take more; rejects when it has left. */
  send(response: Res): Promise<void>;
}

/** Rejects with JailError, TooLargeError, ENOSPC: `fileStatus` says what the caller is answered. */
export type FileMethod<Req, Res> = (jail: PathJail, call: FileCall<Req, Res>) => Promise<void>;

const single =
  <Req, Res>(work: (jail: PathJail, request: Req) => Res | Promise<Res>): FileMethod<Req, Res> =>
  async (jail, { requests, send }) => {
    const first = await requests.next();
    if (first.done === true) throw new JailError('Invalid', 'the call ended without a request');
    await send(await work(jail, first.value));
  };

export const FILE_CALLS = {
  readFile: single(readFile),
  writeFile: single(writeFile),
  listDir: single(listDir),
  stat: single(stat),
  mkdir: single(mkdir),
  rename: single(rename),
  deleteFile: single(deleteFile),
  readRaw,
  writeRaw,
} as const;

export type FileCallName = keyof typeof FILE_CALLS;

/** Those that change something. */
export const WRITING_FILE_CALLS: ReadonlySet<string> = new Set<FileCallName>(['writeFile', 'mkdir', 'rename', 'deleteFile', 'writeRaw']);

function readFile(jail: PathJail, request: proto.ReadFileRequest): proto.ReadFileResponse {
  const { text, stats } = readText(jail, request.path, MAX_TEXT_BYTES);
  const info = fileInfo(jail.resolve(request.path).shown, stats);
  const lines = splitLines(text);
  if (request.offsetLines === 0 && request.limitLines === 0) return { text, totalLines: lines.length, info };
  if (request.offsetLines < 0 || request.limitLines < 0)
    throw new JailError('Invalid', 'offset_lines and limit_lines must not be negative');
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

function writeFile(jail: PathJail, request: proto.WriteFileRequest): proto.WriteFileResponse {
  const data = Buffer.from(request.text);
  if (data.length > MAX_TEXT_BYTES)
    throw new JailError('TooLarge', `the text has ${data.length} bytes; at most ${MAX_TEXT_BYTES} can be written at once: use WriteRaw`);
  const { stats } = writeAtomic(jail, request.path, data, {
    createParents: request.createParents,
    check: (before) => checkEtag(request.expectedEtag, before),
  });
  return { info: fileInfo(jail.resolve(request.path).shown, stats) };
}

async function listDir(jail: PathJail, request: proto.ListDirRequest): Promise<proto.ListDirResponse> {
  const limit = Math.min(request.limit > 0 ? request.limit : DEFAULT_ENTRIES, MAX_ENTRIES);
  const { shown } = jail.resolve(request.path);
  const { entries, more } = await pageOfEntries(jail, request.path, { after: request.after, limit });
  return { entries: entries.map(({ name, stats }) => fileInfo(`${shown}/${name}`, stats)), more };
}

function stat(jail: PathJail, request: proto.StatRequest): proto.StatResponse {
  return { info: fileInfo(jail.resolve(request.path).shown, jail.stat(request.path)) };
}

function mkdir(jail: PathJail, request: proto.MkdirRequest): proto.MkdirResponse {
  return jail.withParent(request.path, { write: true, createParents: request.parents }, (folder, name, { shown }) => {
    const { made } = makeFolder(folder, name, shown);
    const stats = attempt(shown, () => lstatSync(folder.entry(name)));
    // As mkdir -p: a folder that is there is what was asked for.
    if (!made && !(request.parents && stats.isDirectory())) throw new JailError('Exists', `${shown} exists already`);
    return { info: fileInfo(shown, stats) };
  });
}

async function rename(jail: PathJail, request: proto.RenameRequest): Promise<proto.RenameResponse> {
  const stats = await move(jail, request.from, request.to, request.replace);
  return { info: fileInfo(jail.resolve(request.to).shown, stats) };
}

async function deleteFile(jail: PathJail, request: proto.DeleteFileRequest): Promise<proto.DeleteFileResponse> {
  await remove(jail, request.path, request.recursive);
  return {};
}

/** From the file as it was opened: one that is replaced meanwhile is read to its end, one that grows up to its size at the start. */
async function readRaw(jail: PathJail, { requests, send }: FileCall<proto.ReadRawRequest, proto.ReadRawResponse>): Promise<void> {
  const first = await requests.next();
  if (first.done === true) throw new JailError('Invalid', 'the call ended without a request');
  const { path, offset, length } = first.value;
  if (offset < 0 || length < 0) throw new JailError('Invalid', 'offset and length must not be negative');
  const { fd, stats } = jail.openFile(path);
  try {
    const end = length === 0 ? stats.size : Math.min(stats.size, offset + length);
    for (let at = offset; at < end; ) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - at));
      const { bytesRead } = await readLater(fd, chunk, 0, chunk.length, at);
      if (bytesRead === 0) return; // it was cut
      at += bytesRead;
      await send({ chunk: chunk.subarray(0, bytesRead) });
    }
  } finally {
    closeSync(fd);
  }
}

/** Nothing is seen of the file before its last part is on the disk. A caller that leaves before `commit` has changed nothing. */
async function writeRaw(jail: PathJail, { requests, send }: FileCall<proto.WriteRawRequest, proto.WriteRawResponse>): Promise<void> {
  const first = await requests.next();
  if (first.done === true || first.value.part?.$case !== 'info') throw new JailError('Invalid', 'the first message must be `info`');
  const { path, mode, expectedEtag, createParents } = first.value.part.value;
  const file = AtomicFile.begin(jail, path, {
    createParents,
    check: (before) => checkEtag(expectedEtag, before),
    ...(mode !== 0 && { mode }),
  });
  try {
    let total = 0;
    for (;;) {
      const next = await requests.next();
      const part = next.done === true ? undefined : next.value.part;
      if (part?.$case === 'commit') break;
      if (part?.$case !== 'chunk')
        throw new JailError(
          'Invalid',
          next.done === true ? 'the stream ended without `commit`' : 'after the first message come `chunk` and `commit`',
        );
      total += part.value.length;
      if (total > MAX_RAW_BYTES) throw new JailError('TooLarge', `the file is larger than ${MAX_RAW_BYTES} bytes`);
      await file.append(part.value);
    }
    const { stats } = await file.commitLater();
    await send({ info: fileInfo(jail.resolve(path).shown, stats) });
  } finally {
    file.close();
  }
}

/** `expected_etag`: empty overwrites, "-" wants no file there, else the file must still be that one. */
function checkEtag(expected: string, before: Stats | undefined): void {
  if (expected === '') return;
  const found = before === undefined ? '-' : etagOf(before);
  if (found === expected) return;
  if (expected === '-') throw new JailError('Changed', 'the file exists already');
  throw new JailError('Changed', before === undefined ? 'the file does not exist any more' : 'the file is not the expected one any more');
}

function attempt<T>(shown: string, work: () => T): T {
  try {
    return work();
  } catch (e) {
    throw translate(e, shown);
  }
}
