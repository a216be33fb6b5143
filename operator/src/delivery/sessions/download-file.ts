/** The bytes of a file that a chat was shown: what the agent sent from its outbox, or what came with a message. */
import { createReadStream, statSync } from 'node:fs';
import { join } from 'node:path';
import type { InboundContent, MessageInRow, sessions } from '@dovecote/proto';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Cell, Cells } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';
import { laneOf } from '../outbox/address.ts';
import { BadContentError, type FileContent, parseContent } from '../outbox/content.ts';
import { find } from '../outbox/ledger.ts';
import { OutboxFileError, openOutboxFile } from '../outbox/outbox-file.ts';
import { writtenOf } from './conversation.ts';

const CHUNK_BYTES = 256 * 1024;

export interface ConversationFile {
  readonly info: sessions.DownloadInfo;
  /** To be used once. */
  chunks(): AsyncIterable<Buffer>;
  /** Closes what was not read. */
  close(): void;
}

/** Throws StatusError NOT_FOUND. */
export function openConversationFile(cells: Cells, request: sessions.DownloadFileRequest): ConversationFile {
  const { session, seq } = request;
  if (!cells.has(session)) throw notFound('there is no such conversation');
  const cell = cells.open(session);
  return seq % 2 === 0 ? openReceived(cell, request) : openSent(cell, request);
}

function openSent(cell: Cell, { seq, channel, chat }: sessions.DownloadFileRequest): ConversationFile {
  const row = find(cell.inbound, seq);
  const lane = laneOf({ channel, chat, thread: null });
  // Only what reached the chat: a file for another chat of the same session is none of its business.
  if (row?.state !== 'delivered' || (row.lane !== lane && !row.lane.startsWith(`${lane}/`))) throw notFound('there is no such file');
  const { kind, content } = writtenOf(cell, seq);
  const file = kind === 'file' ? parseFile(content) : undefined;
  if (file === undefined) throw notFound('there is no such file');
  try {
    const opened = openOutboxFile(cell.paths.out, seq, file.path, Number.MAX_SAFE_INTEGER);
    const { chunks, close, sizeBytes } = opened;
    return { info: { name: file.name, mimeType: file.mimeType, sizeBytes }, chunks, close };
  } catch (thrown) {
    if (thrown instanceof OutboxFileError) throw notFound(thrown.message);
    throw thrown;
  }
}

function openReceived(cell: Cell, { seq, channel, chat, attachment }: sessions.DownloadFileRequest): ConversationFile {
  const row = prepared(cell.inbound, 'SELECT channel, chat, content FROM messages_in WHERE seq = ?').get(seq) as
    | Pick<MessageInRow, 'channel' | 'chat' | 'content'>
    | undefined;
  const content = row?.channel === channel && row.chat === chat ? (JSON.parse(row.content) as InboundContent) : undefined;
  const file = content?.attachments?.[attachment];
  if (file === undefined) throw notFound('there is no such file');
  const path = join(cell.paths.in, file.path);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw notFound('the file is not there');
  const chunks = (): AsyncIterable<Buffer> => createReadStream(path, { highWaterMark: CHUNK_BYTES });
  return { info: { name: file.name, mimeType: file.mimeType, sizeBytes: stat.size }, chunks, close: () => {} };
}

function parseFile(json: string): FileContent | undefined {
  try {
    const content = parseContent('file', json);
    return content.kind === 'file' ? content : undefined;
  } catch (thrown) {
    if (thrown instanceof BadContentError) return undefined;
    throw thrown;
  }
}

function notFound(why: string): StatusError {
  return new StatusError(status.NOT_FOUND, `cannot give the file: ${why}`);
}
