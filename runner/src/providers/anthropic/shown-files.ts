/**
 * The pictures and PDFs of a conversation, as far as a request can carry them. A file that is left out leaves a line in its
 * place, so that the model knows that it has not seen it.
 */
import type Anthropic from '@anthropic-ai/sdk';
import { type Block, JailError, type PathJail, readBytes, TooLargeError } from '@dovecote/proto';
import { escapeText } from '../../prompts/escape.ts';
import type { TranscriptMessage } from '../provider.ts';

type Content = Anthropic.Beta.BetaContentBlockParam;
type Attachment = Extract<Block, { type: 'attachment' }>;

/** Bytes of a picture, encoded (the API's limit). */
const MAX_IMAGE = 5 * 1024 * 1024;
/** Bytes of a PDF, and of all files of one request, encoded: the API takes requests of 32 MB, and the words need room too. */
const MAX_TOGETHER = 24 * 1024 * 1024;
/** More pictures in one request must be smaller ones (the API's limit). */
const MAX_FILES = 20;

/** What stands in the place of each attachment of these messages. */
export function shownFiles(messages: readonly TranscriptMessage[], files: PathJail): (attachment: Attachment) => Content {
  const found = messages.flatMap(({ blocks }) => blocks.filter((block) => block.type === 'attachment'));
  const kept = keep(found, files);
  return (attachment) =>
    kept.has(attachment) ? show(attachment, files) : leftOut(attachment, 'it was shown before and has made room for later ones');
}

/** What stands there when no file is shown at all. */
export function leftOut({ name }: Attachment, why: string): Content {
  return { type: 'text', text: `[${escapeText(name)} is not shown: ${escapeText(why)}]` };
}

/**
 * The latest ones. When they become too many the older half goes at once, so that the requests up to the next time begin
 * with the same bytes and find them in the cache.
 */
function keep(attachments: readonly Attachment[], files: PathJail): ReadonlySet<Attachment> {
  const kept: { readonly attachment: Attachment; readonly size: number }[] = [];
  const large: Attachment[] = [];
  let together = 0;
  for (const attachment of attachments) {
    const size = encoded(sizeOf(attachment, files));
    if (size > limitOf(attachment)) {
      large.push(attachment); // takes no room: when it is shown it says that it is too large
      continue;
    }
    kept.push({ attachment, size });
    together += size;
    if (together <= MAX_TOGETHER && kept.length <= MAX_FILES) continue;
    while (kept.length > 1 && (together > MAX_TOGETHER / 2 || kept.length > MAX_FILES / 2)) together -= kept.shift()?.size ?? 0;
  }
  return new Set([...kept.map(({ attachment }) => attachment), ...large]);
}

function show(attachment: Attachment, files: PathJail): Content {
  try {
    const { bytes } = readBytes(files, attachment.path, decoded(limitOf(attachment)));
    const type = mediaType(bytes);
    if (type === undefined) return leftOut(attachment, 'its content is no JPEG, PNG, GIF, WebP or PDF');
    const data = bytes.toString('base64');
    return type === 'application/pdf'
      ? { type: 'document', source: { type: 'base64', media_type: type, data }, title: attachment.name.slice(0, 200) }
      : { type: 'image', source: { type: 'base64', media_type: type, data } };
  } catch (e) {
    if (e instanceof TooLargeError)
      return leftOut(attachment, `it is larger than the ${megabytes(decoded(limitOf(attachment)))} MB that can be`);
    if (e instanceof JailError) return leftOut(attachment, 'it is not there any more');
    throw e;
  }
}

/** 0: it cannot be looked at, which is told when it is shown. */
function sizeOf({ path }: Attachment, files: PathJail): number {
  try {
    return files.stat(path).size;
  } catch (e) {
    if (e instanceof JailError) return 0;
    throw e;
  }
}

function limitOf({ mimeType }: Attachment): number {
  return mimeType.startsWith('image/') ? MAX_IMAGE : MAX_TOGETHER;
}

function encoded(bytes: number): number {
  return Math.ceil(bytes / 3) * 4;
}

function decoded(characters: number): number {
  return Math.floor(characters / 4) * 3;
}

function megabytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}

/** By the content alone: the API refuses a picture that is not of the type it is said to be, and with it the whole request. */
function mediaType(bytes: Buffer): 'image/jpeg' | 'image/png' | 'image/gif' | 'image/webp' | 'application/pdf' | undefined {
  const head = bytes.subarray(0, 12).toString('latin1');
  if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (head.startsWith('GIF87a') || head.startsWith('GIF89a')) return 'image/gif';
  if (head.startsWith('RIFF') && head.endsWith('WEBP')) return 'image/webp';
  return head.startsWith('%PDF-') ? 'application/pdf' : undefined;
}
