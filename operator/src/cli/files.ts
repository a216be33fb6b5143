/** `dovecote files`: the files of a session, whether it is awake or asleep. */
import { createWriteStream, openAsBlob } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import type { FileEntry } from '../gateway/api/session-file-routes.ts';
import { type ApiClient, CommandError } from './api-client.ts';
import { ago, type Output, table } from './inspect.ts';

interface Options {
  readonly output: Output;
  readonly write: (text: string) => void;
}

const files = (session: string, path: string): string =>
  `/api/sessions/${encodeURIComponent(session)}/files?path=${encodeURIComponent(path)}`;

/** Everything in a folder, page by page. */
export async function listFiles(
  client: ApiClient,
  session: string,
  path: string,
  options: Options & { readonly now: number },
): Promise<void> {
  const base = `/api/sessions/${encodeURIComponent(session)}/files/list?path=${encodeURIComponent(path)}`;
  const entries: FileEntry[] = [];
  for (let more = true; more; ) {
    const after = entries.at(-1)?.path.split('/').at(-1) ?? '';
    const page = await client.json<{ entries: FileEntry[]; more: boolean }>(`${base}&after=${encodeURIComponent(after)}`);
    entries.push(...page.entries);
    more = page.more && page.entries.length > 0;
  }
  if (options.output === 'json') return options.write(`${JSON.stringify(entries, null, 2)}\n`);
  const rows = entries.map((e) => [
    `${printable(e.path.split('/').at(-1) ?? '')}${e.type === 'directory' ? '/' : ''}`,
    e.type,
    e.type === 'file' ? String(e.sizeBytes) : '-',
    e.mode,
    ago(Date.parse(e.modifiedAt), options.now),
  ]);
  options.write(table(['NAME', 'TYPE', 'BYTES', 'MODE', 'CHANGED'], rows));
}

/** To the local file, which is removed when it could not be had whole; without one, to `stdout`. */
export async function getFile(
  client: ApiClient,
  session: string,
  path: string,
  options: Options & { readonly file: string | undefined; readonly stdout: NodeJS.WritableStream },
): Promise<void> {
  if (options.output === 'json' && options.file === undefined)
    throw new CommandError('with --output json the content needs a place: give --file');
  const response = await client.request(files(session, path));
  const body = Readable.fromWeb((response.body ?? new Blob([]).stream()) as ReadableStream);
  if (options.file === undefined) return pipeline(body, options.stdout, { end: false });
  try {
    await pipeline(body, createWriteStream(options.file));
  } catch (e) {
    await rm(options.file, { force: true });
    throw e;
  }
  if (options.output === 'json')
    options.write(`${JSON.stringify({ path, file: options.file, etag: (response.headers.get('etag') ?? '').replaceAll('"', '') })}\n`);
}

/** From the local file; without one, from `stdin`. */
export async function putFile(
  client: ApiClient,
  session: string,
  path: string,
  options: Options & { readonly file: string | undefined; readonly stdin: Readable },
): Promise<void> {
  const body = options.file === undefined ? (Readable.toWeb(options.stdin) as ReadableStream) : await blobOf(options.file);
  const response = await client.request(files(session, path), { method: 'PUT', bytes: body });
  const entry = (await response.json()) as FileEntry;
  options.write(options.output === 'json' ? `${JSON.stringify(entry, null, 2)}\n` : `${entry.path}: ${entry.sizeBytes} bytes\n`);
}

async function blobOf(file: string): Promise<Blob> {
  try {
    return await openAsBlob(file);
  } catch (e) {
    throw new CommandError(`cannot read ${file}: ${(e as NodeJS.ErrnoException).code ?? 'it cannot be opened'}`, { cause: e });
  }
}

/** Names are the agent's choice: they must not steer a terminal. */
function printable(name: string): string {
  return name.replaceAll(/\p{C}/gu, '\ufffd');
}
